"""Clocks for what is given its time."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

DATE = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class FakeClock:
    """A clock that a test sets: seconds in `now`, a fixed date."""

    now: float = 100.0
    wall: Callable[[], datetime] = lambda: DATE

    def monotonic(self) -> float:
        """Return what the test has set."""
        return self.now


class RealClock:
    """The clocks of the machine."""

    def monotonic(self) -> float:
        """Seconds that never go backwards."""
        return time.monotonic()

    def wall(self) -> datetime:
        """Return the time of day."""
        return datetime.now(UTC)
