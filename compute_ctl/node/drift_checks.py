"""When what runs is to be compared with what is written, and who waits for that.

A check queries the server over SQL, which may take seconds, so it runs beside the loop.
"""

from __future__ import annotations

import asyncio
from math import inf
from typing import Final

PAUSE_S: Final = 2.0
"""Between two checks that nobody waits for."""


class DriftChecks:
    """The requested checks of one server; times are monotonic seconds, given by the caller."""

    def __init__(self) -> None:
        self.due_at = inf
        """When the next one may begin; infinity: none is requested."""
        self._last_at = -inf
        self._none_awaited = asyncio.Event()
        self._none_awaited.set()

    def want(self, now: float, *, hurry: bool = False) -> None:
        """Request a check; *hurry*: somebody waits for it."""
        self.due_at = min(self.due_at, now if hurry else max(now, self._last_at + PAUSE_S))
        if hurry:
            self._none_awaited.clear()

    def begin(self, now: float) -> None:
        """A check begins; it serves all requests so far."""
        self.due_at, self._last_at = inf, now

    def end(self) -> None:
        """A check has ended, and its result is recorded."""
        if self.due_at == inf:
            self._none_awaited.set()

    async def ended(self, within_s: float) -> None:
        """Wait for a check requested in a hurry, but no longer than *within_s*."""
        try:
            await asyncio.wait_for(self._none_awaited.wait(), within_s)
        except TimeoutError:
            return
