"""The tasks of a daemon: none dies in silence, and all end with it. A leaf."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine

logger = logging.getLogger(__name__)


class Tasks:
    """Tasks that run as long as the daemon does."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        self.died = asyncio.Event()
        """Set when a task has ended by an exception."""

    def spawn(self, name: str, work: Coroutine[None, None, None]) -> None:
        """Run *work* until it ends or `stop` comes."""
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if task.cancelled() or task.exception() is None:
            return
        error = task.exception()
        logger.critical("%s died: %s", task.get_name(), error, exc_info=error)
        self.died.set()

    async def stop(self, within_s: float) -> None:
        """Cancel all tasks and wait for them, for *within_s* at most."""
        # A cancellation that meets the end of what a `wait_for` waits for is lost: cancel again.
        end = asyncio.get_running_loop().time() + within_s
        while self._tasks and asyncio.get_running_loop().time() < end:
            for task in self._tasks:
                task.cancel()
            await asyncio.wait(self._tasks, timeout=0.1)
