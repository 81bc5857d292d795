"""Who wants what runs to be compared with what is written, and who waits for that.

A look asks over SQL and may take as long as SQL is given to answer, so it is made beside the loop.
"""

from __future__ import annotations

import asyncio
from math import inf
from typing import Final

PAUSE_S: Final = 2.0
"""Between two looks that nobody waits for."""


class DriftChecks:
    """The looks at one server that are wanted; times are monotonic seconds, given by the caller."""

    def __init__(self) -> None:
        self.due_at = inf
        """When the next one may begin; infinity: none is wanted."""
        self._last_at = -inf
        self._nobody_waits = asyncio.Event()
        self._nobody_waits.set()

    def want(self, now: float, *, hurry: bool = False) -> None:
        """Have a look made; *hurry*: somebody waits for it."""
        self.due_at = min(self.due_at, now if hurry else max(now, self._last_at + PAUSE_S))
        if hurry:
            self._nobody_waits.clear()

    def begin(self, now: float) -> None:
        """A look begins; it serves all who wanted one so far."""
        self.due_at, self._last_at = inf, now

    def end(self) -> None:
        """It has ended, and what it found is recorded."""
        if self.due_at == inf:
            self._nobody_waits.set()

    async def ended(self, within_s: float) -> None:
        """Wait for the look that somebody wanted in a hurry, but no longer than *within_s*."""
        try:
            await asyncio.wait_for(self._nobody_waits.wait(), within_s)
        except TimeoutError:
            return
