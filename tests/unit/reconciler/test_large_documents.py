"""A large document is read beside the loop, which answers others meanwhile."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from compute_ctl.decisions.model import Outcome
from compute_ctl.document import body, quoting
from compute_ctl.document.quoting import Line
from tests.unit.reconciler.road import road

LONG = "x" * 300_000


async def test_its_file_is_not_read_in_the_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither for its servers nor to find out what is new in it: 4 MB took a second."""
    loop, large = threading.get_ident(), []

    def settings_in(text: str, path: str) -> Iterator[Line]:
        if len(text) > len(LONG):
            large.append(threading.get_ident() == loop)
        return quoting.settings_in(text, path)

    monkeypatch.setattr(body, "settings_in", settings_in)
    async with road(tmp_path) as one:
        for version in (1, 2):
            assert Outcome.APPLIED == await one.apply(version, f"{LONG}{version}")

    assert large
    assert not any(large)
