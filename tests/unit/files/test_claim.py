"""One daemon a data directory."""

from __future__ import annotations

from pathlib import Path

import pytest

from compute_ctl.errors import SettingsError
from compute_ctl.files.claim import claimed


def test_a_data_directory_has_one_daemon(tmp_path: Path) -> None:
    """A second daemon is refused, with a hint, until the first has ended; no file is left."""
    with claimed(tmp_path):
        with pytest.raises(SettingsError, match="another compute_ctl manages data") as refused:
            claimed(tmp_path).__enter__()
        assert "--state-dir" in (refused.value.hint or "")
    with claimed(tmp_path):
        assert list(tmp_path.iterdir()) == []
