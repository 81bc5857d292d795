"""The end of a story: a good document is published, comes into force, and stays."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING

from compute_common.document.document import decode_document
from compute_ctl.decisions.pacing import SUSPICION_LASTS_S
from compute_ctl.decisions.transitions import Status
from compute_ctl.document.generation import LiveFile
from tests.simulation.disk import CONF, GENERATIONS
from tests.simulation.documents import Kind, url
from tests.simulation.faults import Faults
from tests.simulation.invariants import InvariantError
from tests.simulation.worker import LATE_S

if TYPE_CHECKING:
    from tests.simulation.world import World

CONVERGE_S = 180.0
"""After quiet: a minute until the periodic look, 90 s of Retry-After, 30 s of suspicion."""
URGENT_S = 25.0
"""For the servers alone: Postgres complains, and the way to the source has always been well."""
STABLE_S = 130.0
LOOK_S = 5.0
"""What a periodic look may take."""


class Ending:
    """The end of one world's story."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._goal: Callable[[], str] = lambda: ""

    async def converges(self) -> None:
        """All faults end, a good document is published: it must come into force, and stay."""
        world = self._world
        world.quiet = True
        world.faults = Faults()
        world.disk.full, world.postgres_wanted = False, True
        world.crash_at_step = world.disk.crash_in = None
        world.interruptions.cancel()
        world.postgres.overrides.clear()
        world.postgres.typo_elsewhere = False
        world.postgres.reload()
        world.place += 1
        world.worker_looks.set()
        salvage = world.rng.random() < 0.2 and self._can_fall_back
        last = world.writer.write(world.place, Kind.BAD_VALUE if salvage else Kind.GOOD)
        world.control.publish(last)
        self._goal = goal = self._at_rest if salvage else lambda: self._converged(last)
        end = world.loop.now + CONVERGE_S
        complains = world.postgres.ready and world.troubled and world.daemon_answers
        urgent = world.loop.now + (URGENT_S if complains and world.calm else CONVERGE_S)
        while missing := goal():
            if world.loop.now >= urgent and world.troubled:
                raise InvariantError("postgres complains, and nobody listens")
            if world.loop.now >= end:
                raise InvariantError(f"not within {CONVERGE_S:g} s after quiet: {missing}")
            await asyncio.sleep(0.25)
        world.note("converged")

    async def lasts(self) -> None:
        """All stays well, and is left alone."""
        world, goal = self._world, self._goal
        await asyncio.sleep(LATE_S)  # a complaint under way still arrives, and is looked into
        await self._until(goal, SUSPICION_LASTS_S + LOOK_S)
        before, text = world.invariants.fetches, world.disk.files.get(CONF)
        await asyncio.sleep(STABLE_S)
        await self._until(goal, LOOK_S)
        if world.disk.files.get(CONF) != text:
            raise InvariantError("the file was written again without need")
        if world.invariants.fetches - before > STABLE_S / 60 + 3:
            raise InvariantError(f"{world.invariants.fetches - before} fetches while all is well")

    async def _until(self, goal: Callable[[], str], seconds: float) -> None:
        """Wait for a goal that was reached before, and may be missed while somebody looks."""
        world = self._world
        end = world.loop.now + seconds
        while missing := goal():
            if world.loop.now >= end:
                raise InvariantError(f"it did not last: {missing}")
            await asyncio.sleep(0.25)

    def _converged(self, document: bytes) -> str:
        """Return what is missing to *document* being in force; '' if all is well."""
        world, daemon = self._world, self._world.daemon
        if daemon is None:
            return "there is no daemon"
        node, wanted = daemon.node, _content(document)
        applied, good = node.config.shown.applied, node.config.shown.fallback
        live = LiveFile.parse(world.disk.files.get(CONF) or "")
        not_good = good is None or good.content_sha256 != wanted
        missing = {
            "applied is another document": applied is None or applied.content_sha256 != wanted,
            "applied is not in the file": applied is None or str(live.marker) != applied.marker,
            "proven in full is another": not_good
            and not world.postgres.waits_for_restart(world.disk.files.get(CONF, "")),
            f"error: {node.attempts.error}": node.attempts.error is not None,
            "drift": node.config.verdict is not None and bool(node.config.verdict.shadowed),
            "not in sync": not node.snapshot().config.in_sync,
        }
        return self._at_rest() or ", ".join(what for what, is_so in missing.items() if is_so)

    @property
    def _can_fall_back(self) -> bool:
        """Whether there is something to go back to."""
        daemon = self._world.daemon
        good = daemon.node.config.state.fallback if daemon is not None else None
        if good is None or not self._world.postgres.ready:
            return False
        kept = self._world.disk.files.get(f"{GENERATIONS}{good.generation}.conf", "")
        return LiveFile.parse(kept).intact

    def _at_rest(self) -> str:
        """Return what is missing to the newest servers being in force; '' if all is well.

        With a refused document the rest is that of the newest generation proven in full, which may
        be that of a push in flight. Whether a server starts with that is not always known: where it
        is refused in turn the compute is "failed", with the servers in force.
        """
        world, daemon = self._world, self._world.daemon
        if daemon is None:
            return "there is no daemon"
        node, postgres = daemon.node, world.postgres
        live = LiveFile.parse(world.disk.files.get(CONF) or "")
        missing = {
            f"status {node.status}": node.status is not Status.RUNNING
            and not world.invariants.fallback_refused(node, live),
            "postgres is down": not postgres.ready,
            "suspicion": node.requests.suspected(world.loop.now),
            "a request waits": node.requests.pending,
            f"upstream {postgres.pageserver}": postgres.pageserver != url(f"ps{world.place}"),
            "the file is torn": not live.intact,
            "the file is not in force": str(live.marker) != postgres.marker,
            "something bad in the file": world.invariants.is_bad(live),
        }
        return ", ".join(what for what, is_so in missing.items() if is_so)


@lru_cache(maxsize=4)
def _content(document: bytes) -> str:
    return decode_document(document).content_sha256
