"""The attempts of one node: how many there were, the last and the next, and the error shown."""

from __future__ import annotations

import asyncio

from compute_ctl.decisions.model import Attempt
from compute_ctl.ports import Clock


class AttemptLog:
    """What is known of the attempts; times are monotonic seconds."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.number = 0
        """Of the last attempt begun; goes on from the history of earlier daemons."""
        self.last: Attempt | None = None
        self.next_at: float | None = None
        """When the next attempt begins; None: not before something happens."""
        self.first_ended = asyncio.Event()
        """Set when the first attempt has ended."""
        self.error: str | None = None
        """Why the last attempt did not end well; None after one that did."""
        self.error_since: float | None = None

    def resume(self, number: int) -> None:
        """Count on from *number*, that of an earlier daemon's last attempt."""
        self.number = number

    def begin(self) -> None:
        """Count an attempt."""
        self.number += 1

    def plan(self, at: float | None) -> None:
        """Record when the next attempt begins; None: not before something happens."""
        self.next_at = at

    def end(self, attempt: Attempt, *, good: bool) -> None:
        """Record that *attempt* has ended, and its reason as the error unless it was *good*."""
        self.last = attempt
        self.show_error(None if good else attempt.reason or attempt.outcome.value)
        self.first_ended.set()

    def show_error(self, reason: str | None) -> None:
        """Show *reason* until an attempt ends; None: nothing is wrong."""
        if reason != self.error:
            self.error_since = None if reason is None else self._clock.monotonic()
        self.error = reason
