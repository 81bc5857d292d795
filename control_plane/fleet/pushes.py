"""Pushes documents to the daemons that do not wait for them: Neon's own.

Such a daemon neither reports nor keeps a request open, so its answer to `POST /configure` is taken
for its report.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from control_plane.errors import PushError
from control_plane.fleet.registry import Registry
from control_plane.ports import Pusher

logger = logging.getLogger(__name__)

RETRY_MIN_S: Final = 1.0
RETRY_MAX_S: Final = 30.0


class Pushes:
    """One task for each daemon that was not told of its newest document yet."""

    def __init__(self, *, registry: Registry, pusher: Pusher, jitter: Callable[[], float]) -> None:
        """*jitter* returns a random number from 0 to 1."""
        self._registry = registry
        self._pusher = pusher
        self._jitter = jitter
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._wake = asyncio.Event()
        self._changed: set[str] = set()
        registry.on_published.append(self._on_published)

    async def run(self) -> None:
        """Push until cancelled; everybody is told once after the start."""
        self._changed |= set(self._registry.computes)
        async with asyncio.TaskGroup() as group:
            while True:
                changed, self._changed = self._changed, set()
                for compute_id in changed:
                    record = self._registry.computes.get(compute_id)
                    if record is not None and record.push_url and compute_id not in self._tasks:
                        self._tasks[compute_id] = group.create_task(self._push(compute_id))
                self._wake.clear()
                await self._wake.wait()

    def _on_published(self, compute_id: str) -> None:
        self._changed.add(compute_id)
        self._wake.set()

    async def _push(self, compute_id: str) -> None:
        """Push until the newest document was taken, or there is nobody to push to."""
        failures = 0
        try:
            while self._missing(compute_id):
                if await self._push_once(compute_id):
                    failures = 0
                    continue
                failures += 1
                pause = min(RETRY_MIN_S * 2.0 ** min(failures - 1, 8), RETRY_MAX_S)
                await asyncio.sleep(pause * (1.0 + self._jitter()) / 2)
        finally:
            del self._tasks[compute_id]

    def _missing(self, compute_id: str) -> bool:
        """Return whether its daemon has not taken its newest document."""
        record = self._registry.computes.get(compute_id)
        if record is None or not record.push_url or record.published is None:
            return False
        return self._registry.presence.of(compute_id).pushed_generation < record.generation

    async def _push_once(self, compute_id: str) -> bool:
        record = self._registry.computes.get(compute_id)
        if record is None or record.push_url is None or record.published is None:
            return False
        try:
            await self._pusher.push(record.push_url, bytes(record.published), compute_id=compute_id)
        except PushError as error:
            self._registry.presence.pushed(
                compute_id, generation=0, error=str(error), reached=error.code is not None
            )
            return False
        self._registry.presence.pushed(
            compute_id, generation=record.generation, error="", reached=True
        )
        return True
