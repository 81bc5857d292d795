"""One daemon a data directory."""

from __future__ import annotations

from pathlib import Path

import pytest

from compute_common.errors import SettingsError
from compute_ctl.store.pgdata_lock import lock_pgdata


def test_a_data_directory_has_one_daemon(tmp_path: Path) -> None:
    """A second daemon is refused, with a hint, until the first has ended; no file is left."""
    with lock_pgdata(tmp_path):
        with pytest.raises(SettingsError, match="another compute_ctl manages data") as refused:
            lock_pgdata(tmp_path).__enter__()
        assert "--state-dir" in (refused.value.hint or "")
    with lock_pgdata(tmp_path):
        assert [] == list(tmp_path.iterdir())
