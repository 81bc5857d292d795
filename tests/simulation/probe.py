"""Looks over SQL at the simulated server."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from compute_ctl.decisions.logins import LOST
from compute_ctl.decisions.sql_report import SqlReport
from compute_ctl.errors import LoginError, ProbeError
from tests.simulation import rules
from tests.simulation.interruptions import What

if TYPE_CHECKING:
    from tests.simulation.world import World


class SimProbe:
    """One look over SQL, which may take longer than anybody waits."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def look(self, *, deadline_s: float) -> SqlReport:
        """Return the report, or raise ProbeError at the deadline."""
        try:
            return await self._look(deadline_s)
        finally:
            self._world.interruptions.await_ends(What.LOOK)

    async def _look(self, deadline_s: float) -> SqlReport:
        world = self._world
        if not world.postgres.ready:
            await asyncio.sleep(0.001)
            raise ProbeError("connection refused")
        if world.faults.sql_hangs or (world.troubled and world.rng.random() < 0.3):
            await asyncio.sleep(deadline_s)
            raise ProbeError(f"no answer within {deadline_s:g} s")
        await asyncio.sleep(world.rng.uniform(0.001, 0.03))
        if not world.postgres.ready:
            raise ProbeError("server closed the connection")
        if rules.crashes(world.postgres.conf):
            world.postgres.crash()
            raise LoginError("server closed the connection unexpectedly", sqlstate=LOST)
        if rules.locks_out(world.postgres.conf):
            raise LoginError('could not access file "nolib"', sqlstate="58P01")
        return world.postgres.report()
