"""The control plane and the network to it: late, lost, stale, empty, garbled, turned away."""

from __future__ import annotations

import asyncio
import hashlib
from typing import TYPE_CHECKING

from compute_ctl.errors import FetchError
from compute_ctl.ports import Fetched, FetchStatus
from tests.simulation.interruptions import What

if TYPE_CHECKING:
    from tests.simulation.world import World

FETCH_TOTAL_S = 10.0
GARBAGE = b'{"status": "attached", "spec": {"cluster"'


class ControlPlane:
    """What is published."""

    def __init__(self) -> None:
        self.document: bytes | None = None
        """None: this compute is not wanted any more."""
        self.earlier: list[bytes] = []
        self.changed = asyncio.Event()

    def publish(self, document: bytes | None) -> None:
        """Make *document* the answer from now on."""
        if self.document is not None:
            self.earlier.append(self.document)
        self.document = document
        self.changed.set()
        self.changed = asyncio.Event()


class SimSource:
    """The daemon's view of the control plane; keeps the deadlines of the real adapter."""

    name = "control_plane"

    def __init__(self, world: World) -> None:
        self._world = world

    async def fetch(self, *, etag: str | None = None, wait_s: int | None = None) -> Fetched:
        """Answer as the network and the control plane let it."""
        world = self._world
        world.invariants.fetched(plain=wait_s is None)
        limit = FETCH_TOTAL_S if wait_s is None else wait_s + 5.0
        try:
            return await asyncio.wait_for(self._ask(etag, wait_s), limit)
        except TimeoutError:
            raise FetchError("no answer in time") from None
        finally:
            world.interruptions.await_ends(What.FETCH if wait_s is None else What.LONG_POLL)

    async def _ask(self, etag: str | None, wait_s: int | None) -> Fetched:
        world, faults, rng = self._world, self._world.faults, self._world.rng
        await asyncio.sleep(rng.uniform(0.0005, faults.latency))
        if rng.random() < faults.loss:
            await asyncio.sleep(0.0 if rng.random() < 0.6 else 60.0)
            raise FetchError("connection reset by peer")
        if rng.random() < faults.turned_away:
            seconds = rng.uniform(0.1, 20.0)
            world.invariants.answered(retry_after_s=seconds)
            raise FetchError("429 too many requests", retry_after_s=seconds)
        if rng.random() < faults.nonsense:
            return Fetched(status=FetchStatus.ATTACHED, raw=GARBAGE)
        document = world.control.document
        if world.control.earlier and rng.random() < faults.stale:
            document = rng.choice(world.control.earlier[-3:])
        if rng.random() < faults.empty:
            document = None
        answer = await self._answer(document, etag, wait_s)
        await asyncio.sleep(rng.uniform(0.0005, faults.latency))
        world.invariants.answered()
        if answer.status is FetchStatus.EMPTY:
            world.invariants.empties.append(world.loop.now)
        elif answer.status is FetchStatus.ATTACHED:
            world.invariants.empties.clear()
        return answer

    async def _answer(
        self, document: bytes | None, etag: str | None, wait_s: int | None
    ) -> Fetched:
        world = self._world
        held = wait_s is not None and world.long_polls
        if document is not None and etag == _etag(document) and held and wait_s is not None:
            changed = world.control.changed
            try:
                await asyncio.wait_for(changed.wait(), wait_s)
            except TimeoutError:
                return Fetched(status=FetchStatus.NOT_MODIFIED, etag=etag, long_polled=True)
            document = world.control.document
        if document is None:
            return Fetched(status=FetchStatus.EMPTY, long_polled=held)
        if etag == _etag(document):
            return Fetched(status=FetchStatus.NOT_MODIFIED, etag=etag, long_polled=held)
        tag = _etag(document) if world.has_etags else None
        return Fetched(status=FetchStatus.ATTACHED, raw=document, etag=tag, long_polled=held)


def _etag(document: bytes) -> str:
    return hashlib.sha256(document).hexdigest()[:16]
