"""The refresh worker inside the simulated server: complains, and acknowledges what is in force."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from compute_common.errors import RequestError
from compute_ctl.decisions.model import AckMessage, RequestOrigin, Suspicion
from compute_ctl.node import Node

if TYPE_CHECKING:
    from tests.simulation.world import World

RETRY_MIN_S = 0.05
RETRY_MAX_S = 5.0
LATE_S = 4.0


class SimWorker:
    """Follows the server; every message may be lost, and is then sent again."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._complained = False

    async def acknowledge(self) -> None:
        """Send an acknowledgement after every change of what is in force, until it arrives."""
        world = self._world
        while True:
            await world.postgres.changed.wait()
            world.postgres.changed.clear()
            world.worker_looks.set()
            wait = RETRY_MIN_S
            while world.postgres.up and world.postgres.marker:
                await asyncio.sleep(world.rng.uniform(0.0005, 0.004))
                if world.postgres.changed.is_set():
                    world.postgres.changed.clear()
                    world.worker_looks.set()
                    wait = RETRY_MIN_S
                if self.send_ack():
                    break
                await self._pause(wait * world.rng.random())
                wait = min(wait * 2, RETRY_MAX_S)

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._world.postgres.changed.wait(), seconds)

    def send_ack(self) -> bool:
        """Send one; return whether it was answered."""
        world = self._world
        if world.faults.acks_lost or world.rng.random() < world.faults.ack_loss:
            return False
        message = AckMessage(
            marker=world.postgres.marker,
            map_sha256=world.postgres.map_sha256(),
            shard_count=1,
            suspects=world.troubled,
            not_reloaded=("ssl",) if world.library_tells and world.postgres.tls_failed else (),
        )
        return self._transmit(lambda node: node.acknowledge(message))

    async def complain(self) -> None:
        """Ask for a refresh while the pageserver is not there; say when it is over."""
        world = self._world
        while True:
            await world.worker_looks.wait()
            world.worker_looks.clear()
            wait = RETRY_MIN_S
            while world.postgres.up and world.troubled:
                await asyncio.sleep(world.rng.uniform(0.0005, 0.01))
                self._send()
                await self._look_again(max(wait * world.rng.random(), 0.005))
                wait = min(wait * 2, RETRY_MAX_S)
            if self._complained and not world.troubled:
                self._complained = not self.send_ack()
                if self._complained:
                    world.later(RETRY_MIN_S, world.worker_looks.set)

    async def _look_again(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._world.worker_looks.wait(), seconds)
        self._world.worker_looks.clear()

    def _send(self) -> None:
        world = self._world
        if world.rng.random() < world.faults.request_loss or not world.troubled:
            return
        suspicion = Suspicion(source="pageserver", shard=0, trouble="dead")
        self._complained, marker = True, world.postgres.marker
        self._transmit(
            lambda node: node.request_refresh(
                who="postgres", source=RequestOrigin.WORKER, suspicion=suspicion, marker=marker
            )
        )

    def _transmit(self, message: Callable[[Node], object]) -> bool:
        """Bring a message to the daemon, as the network lets it; return whether it answers."""
        world = self._world
        late = world.rng.random() < world.faults.overtaken
        if late or world.rng.random() < world.faults.doubled:
            world.later(world.rng.uniform(0.001, LATE_S), self._arrives, message)
        return not late and self._arrives(message)

    def _arrives(self, message: Callable[[Node], object]) -> bool:
        daemon = self._world.daemon
        if daemon is None or not daemon.serving:
            return False
        with suppress(RequestError):
            message(daemon.node)
        return True
