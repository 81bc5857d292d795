"""A verified postmaster process, held by a pidfd, so that a recycled pid is never signalled.

postmaster.pid outlives a crash, and its pid may belong to anybody by then. `find` opens a pidfd
first and then looks at the process behind it. It is the postmaster of a data directory if all of
these hold, read while the pidfd says that the process lives:

- its working directory is the data directory (device and inode; Postgres changes into it);
- its command is a postgres;
- it began when postmaster.pid says, or its command line is not that of a child ("postgres: ...").
  The second way in is there because a clock that was set since moves the first.
"""

from __future__ import annotations

import asyncio
import os
import re
import select
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Self

_START_TOLERANCE_S = 5.0
READY = "ready"
"""The status of a server that accepts connections (a standby's read-only ones too)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PostmasterPid:
    """The lines of postmaster.pid that are used here (order: `pidfile.h` of PostgreSQL).

    It is written line by line while the server starts, so its last lines may be missing.
    """

    pid: int
    start_time: int | None = None
    """Seconds since the epoch, by the clock as it was then."""
    port: int | None = None
    status: str = ""
    """``starting``, ``stopping``, ``ready``, ``standby`` (up, accepts nobody), or not yet there."""

    def begun(self, pid: int) -> bool:
        """Whether the postmaster *pid* has noted a status."""
        return self.pid == pid and bool(self.status)

    @property
    def ready(self) -> bool:
        """Whether the server accepts connections."""
        return self.status == READY

    @classmethod
    def parse(cls, text: str) -> PostmasterPid | None:
        """Return what *text* says; None where it names no postmaster.

        A single-user backend writes its pid as a negative number; it is no postmaster.
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


class Process:
    """A process held by a pidfd; close it, or use it as a context manager."""

    def __init__(self, pid: int, pidfd: int) -> None:
        self.pid = pid
        self._pidfd = pidfd

    @classmethod
    def open(cls, pid: int) -> Self | None:
        """Open the process that has *pid* now; None if there is none."""
        try:
            return cls(pid, os.pidfd_open(pid))
        except (OSError, ValueError):
            return None

    @property
    def alive(self) -> bool:
        """Whether it has not ended (a zombie has)."""
        return not select.select([self._pidfd], [], [], 0)[0] if self._pidfd >= 0 else False

    def signal(self, number: signal.Signals) -> bool:
        """Send a signal to this very process; False if it has ended."""
        try:
            signal.pidfd_send_signal(self._pidfd, number)
        except ProcessLookupError:
            return False
        return True

    async def ended(self, timeout_s: float | None = None) -> bool:
        """Wait until it has ended; False at the timeout. Costs nothing meanwhile."""
        loop = asyncio.get_running_loop()
        done = asyncio.Event()
        fd = os.dup(self._pidfd)  # the loop takes each descriptor once only
        loop.add_reader(fd, done.set)
        try:
            async with asyncio.timeout(timeout_s):
                await done.wait()
        except TimeoutError:
            return False
        finally:
            loop.remove_reader(fd)
            os.close(fd)
        return True

    def again(self) -> Self | None:
        """Open the same process a second time; None if it has ended or was closed."""
        held = self._pidfd
        try:
            other = type(self)(self.pid, os.dup(held))
        except OSError:
            return None
        # Closed meanwhile by another thread, the number may have come to mean something else.
        if held == self._pidfd and other.alive:
            return other
        other.close()
        return None

    def close(self) -> None:
        """Close the pidfd."""
        held, self._pidfd = self._pidfd, -1
        if held >= 0:
            os.close(held)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def read_pid_file(pgdata: Path) -> PostmasterPid | None:
    """Return what postmaster.pid says, None where it is missing or says nothing."""
    try:
        text = (pgdata / "postmaster.pid").read_text(errors="replace")
    except OSError:
        return None
    return PostmasterPid.parse(text)


def find(pgdata: Path) -> Process | None:
    """Return the running postmaster of *pgdata*, None if there is none."""
    noted = read_pid_file(pgdata)
    process = Process.open(noted.pid) if noted else None
    if noted is None or process is None:
        return None
    if _is_postmaster(noted, pgdata) and process.alive:
        return process
    process.close()
    return None


def _is_postmaster(noted: PostmasterPid, pgdata: Path) -> bool:
    proc = Path("/proc") / str(noted.pid)
    try:
        if not works_in(noted.pid, pgdata):
            return False
        if "postgres" not in (proc / "comm").read_text():
            return False
        if _began_as_noted(noted):
            return True
        return not (proc / "cmdline").read_bytes().startswith(b"postgres: ")
    except (OSError, ValueError, IndexError):
        return False


def catches(pid: int, number: signal.Signals) -> bool:
    """Return whether process *pid* has a handler for a signal."""
    try:
        status = (Path("/proc") / str(pid) / "status").read_text()
    except OSError:
        return False
    found = re.search(r"^SigCgt:\s*([0-9a-f]+)$", status, re.MULTILINE)
    return found is not None and bool(int(found[1], 16) >> (number - 1) & 1)


def works_in(pid: int, folder: Path) -> bool:
    """Return whether process *pid* has *folder* as its working directory."""
    try:
        return (Path("/proc") / str(pid) / "cwd").samefile(folder)
    except OSError:
        return False


def began_at(pid: int) -> float | None:
    """Return when process *pid* began, in seconds since the epoch; None if that cannot be told."""
    try:
        # Field 22 of stat; the command in field 2 may hold spaces and parentheses.
        stat = (Path("/proc") / str(pid) / "stat").read_text()
        ticks = int(stat.rpartition(")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return None
    return _boot_time() + ticks / os.sysconf("SC_CLK_TCK")


def _began_as_noted(noted: PostmasterPid) -> bool:
    began = began_at(noted.pid)
    if noted.start_time is None or began is None:
        return False
    return abs(began - noted.start_time) <= _START_TOLERANCE_S


def _boot_time() -> float:
    """Return what /proc/stat calls btime, which costs the kernel much more to tell."""
    return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)


def _number(lines: list[str], index: int) -> int | None:
    try:
        return int(lines[index])
    except (IndexError, ValueError):
        return None
