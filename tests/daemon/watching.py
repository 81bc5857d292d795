"""What the watch of a server tells, as it happens."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest

from compute_ctl.postgres import Attached, Events, Supervised


class Watch:
    """What a watch has told, in order."""

    def __init__(self) -> None:
        self.told: asyncio.Queue[str] = asyncio.Queue()
        self.events = Events(
            on_ready=lambda: self.told.put_nowait("ready"),
            on_lost=lambda: self.told.put_nowait("lost"),
            on_exit=lambda status: self.told.put_nowait(f"exit {status}"),
        )
        self.task: asyncio.Task[None] | None = None

    def start(self, server: Attached | Supervised) -> None:
        """Begin to watch."""
        self.task = asyncio.create_task(server.watch(self.events))

    async def next(self, within_s: float = 10) -> str:
        """Return what is told next."""
        async with asyncio.timeout(within_s):
            return await self.told.get()


@pytest.fixture
async def watch() -> AsyncIterator[Watch]:
    """A watch, ended after the test."""
    made = Watch()
    yield made
    if made.task is not None:
        made.task.cancel()
        with suppress(asyncio.CancelledError):
            await made.task
