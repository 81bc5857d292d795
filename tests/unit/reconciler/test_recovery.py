"""What a daemon takes over from the one before it."""

import json
import shutil
from pathlib import Path

import pytest

from compute_common.document.spec import decode_document
from compute_ctl.decisions.model import PUSH, Outcome
from devstack.document import attached
from tests.unit.reconciler.test_activation import road


@pytest.mark.parametrize("edit", ["{}work_mem = '7MB'\n", "# mine\n{}"])
async def test_an_edited_file_still_says_what_the_compute_has(tmp_path: Path, edit: str) -> None:
    """Also without the state folder no document takes its servers away by leaving them out."""
    async with road(tmp_path) as one:
        assert Outcome.APPLIED == await one.apply(1, "1MB")
        live = one.live
    shutil.rmtree(tmp_path / "state")
    (tmp_path / "c.conf").write_text(edit.format(live))
    raw = attached(tenant="1" * 32, timeline="2" * 32, settings={"work_mem": "2MB"})

    async with road(tmp_path) as another:
        await another.restore()
        result = await another.applier.apply(decode_document(json.dumps(raw).encode()), source=PUSH)
        assert Outcome.REJECTED == result.outcome
        assert "names no pageservers, but this compute has some" in result.reason
        assert edit.format(live) == another.live
