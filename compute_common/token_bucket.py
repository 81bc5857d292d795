"""A limit on how often something may happen. Pure. A leaf."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(kw_only=True)
class TokenBucket:
    """Allows *per_second* events a second, and *burst* events at once after a pause."""

    burst: int
    per_second: float
    _left: float = 0.0
    _at: float | None = None

    def take(self, now: float) -> bool:
        """Whether an event at *now* (monotonic seconds) is allowed; count it if it is."""
        if self._at is None:
            self._left = self.burst
        else:
            self._left = min(self.burst, self._left + (now - self._at) * self.per_second)
        self._at = now
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True
