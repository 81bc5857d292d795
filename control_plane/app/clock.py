"""The system's clock, and how late the event loop is."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import Final

LOOK_S: Final = 0.25
OVERLOADED_S: Final = 1.0
"""A loop that is later than this has more to do than it can."""


class SystemClock:
    """A `ports.Clock`."""

    def monotonic(self) -> float:
        """Seconds since an arbitrary time."""
        return time.monotonic()

    def wall(self) -> datetime:
        """The current time."""
        return datetime.now(UTC)


class LoopDelay:
    """Measures how late the event loop is; `run` is its task."""

    def __init__(self) -> None:
        self.seconds = 0.0
        """At the last look."""

    @property
    def overloaded(self) -> bool:
        """Whether new requests had better come later."""
        return self.seconds > OVERLOADED_S

    async def run(self) -> None:
        """Measure until cancelled."""
        clock = asyncio.get_running_loop().time
        while True:
            due = clock() + LOOK_S
            await asyncio.sleep(LOOK_S)
            self.seconds = clock() - due
