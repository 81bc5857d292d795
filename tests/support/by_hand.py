"""What a node needs around it, where a test turns the clock and no server is there."""

from datetime import UTC, datetime


class HandClock:
    """Time by hand."""

    now = 100.0

    def monotonic(self) -> float:
        """Seconds as set."""
        return self.now

    def wall(self) -> datetime:
        """A date."""
        return datetime(2026, 1, 1, tzinfo=UTC)


class NoPostgres:
    """A server that is not there."""

    ready = running = False
    pid = None
    has_read_files = True

    def read_log(self) -> None:
        """Have none."""

    def blocked_on(self) -> None:
        """Wait for no file."""

    def started_after(self, at: datetime) -> bool:
        """Never: there is none."""
        return False

    def reload(self) -> bool:
        """Reach nobody."""
        return False
