"""Limits on what callers can make a listener log."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

PATH_SHOWN: Final = 200
"""Characters of a path that are logged."""


@dataclass(kw_only=True)
class LogLimit:
    """A token bucket for log lines, so that a flood of requests cannot fill the disk."""

    burst: int = 50
    per_second: float = 5.0
    left_out: int = 0
    """Requests not logged since the last `told`."""
    _filled: float = 0.0
    _at: float | None = None

    def take(self, now: float) -> bool:
        """Whether a request at *now* (monotonic seconds) may be logged; count it if not."""
        if self._at is None:
            self._filled = self.burst
        else:
            self._filled = min(self.burst, self._filled + (now - self._at) * self.per_second)
        self._at = now
        if self._filled < 1.0:
            self.left_out += 1
            return False
        self._filled -= 1.0
        return True

    def told(self) -> int:
        """Return how many requests were not logged since the last call."""
        count, self.left_out = self.left_out, 0
        return count


def shown_path(path: str) -> str:
    """Return *path* for the log, cut where it is long."""
    return path if len(path) <= PATH_SHOWN else f"{path[:PATH_SHOWN]}... ({len(path)} characters)"
