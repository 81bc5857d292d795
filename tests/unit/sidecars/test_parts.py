"""The daemon's own sidecars: nothing is wanted of them before Postgres runs with the document."""

from pathlib import Path

from compute_ctl.app.sidecar_parts import build_sidecars
from compute_ctl.sidecars.wanted import Wanted
from tests.support.clock import FakeClock
from tests.unit.reconciler.road import road


async def test_not_before_the_proof(tmp_path: Path) -> None:
    """A document that is written but not proven may be taken back."""
    async with road(tmp_path) as one:
        sidecars = build_sidecars(one.node, one.postgres, FakeClock(), attach=False)
        assert sidecars._wanted() is None
        await one.apply(1, "1MB")
        assert Wanted() == sidecars._wanted()
        assert one.node.config.written is not None
        one.node.now_written(one.node.config.describe(one.node.config.written.marker, "", None))
        assert sidecars._wanted() is None
