"""What postmaster.pid says. Pure.

The file is the data directory's lock: one value a line, in the order of PostgreSQL's `pidfile.h`.
It is written line by line while the server starts, so that any tail of it may be missing.
"""

from __future__ import annotations

from dataclasses import dataclass

READY = "ready"
"""The status of a server that accepts connections (a standby's read-only ones too)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PostmasterPid:
    """The lines that matter here."""

    pid: int
    start_time: int | None = None
    """Seconds since the epoch, by the clock as it was then."""
    port: int | None = None
    status: str = ""
    """``starting``, ``stopping``, ``ready``, ``standby`` (up, accepts nobody), or not yet there."""

    @property
    def ready(self) -> bool:
        """Whether the server accepts connections."""
        return self.status == READY

    @classmethod
    def parse(cls, text: str) -> PostmasterPid | None:
        """Return what *text* says; None where it names no postmaster.

        A single-user backend writes its pid negative: nobody to talk to.
        """
        lines = text.splitlines()
        pid = _number(lines, 0)
        if pid is None or pid <= 1:
            return None
        return cls(
            pid=pid,
            start_time=_number(lines, 2),
            port=_number(lines, 3),
            status=lines[7].strip() if len(lines) > 7 else "",
        )


def _number(lines: list[str], index: int) -> int | None:
    try:
        return int(lines[index])
    except (IndexError, ValueError):
        return None
