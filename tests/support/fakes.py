"""Postgres servers that are not there, for what asks one for little."""

from datetime import datetime


class AbsentPostgres:
    """A server that is down."""

    ready = running = False
    pid: int | None = None
    in_recovery: bool | None = None
    is_primary = False
    has_read_files = True

    def read_log(self) -> None:
        """Have none."""

    def blocked_on(self) -> None:
        """Wait for no file."""

    def unblock(self, file: str) -> None:
        """Wait for no file."""

    def started_after(self, at: datetime) -> bool:
        """Never: there is none."""
        return False

    def reload(self) -> bool:
        """Reach nobody."""
        return False


class IdlePostgres(AbsentPostgres):
    """A server that runs, takes every SIGHUP and does nothing."""

    ready = running = True
    pid = 4711

    def reload(self) -> bool:
        """Take a SIGHUP."""
        return True
