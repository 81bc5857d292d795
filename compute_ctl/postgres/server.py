"""A Postgres server, whoever started it: its state, reload, watch, stop.

The process being watched is kept while it lives; otherwise each call reads postmaster.pid and
verifies the process again, so that a server that somebody restarted gets the signal. The methods
that are not `async` may be called from any thread.
"""

from __future__ import annotations

import asyncio
import os
import platform
import signal
import stat
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from compute_ctl.decisions.reload_errors import ReloadError
from compute_ctl.errors import PostgresError
from compute_ctl.postgres.identity import in_recovery, shutdown_lsn, starts_as_primary
from compute_ctl.postgres.postmaster import Process, began_at, find, read_pid_file, works_in

QUICK_POLL_S: Final = 0.1
"""Polling interval while the server is expected to become ready ..."""
QUICK_FOR_S: Final = 60.0
"""... for this long after the last change; then SLOW_POLL_S."""
SLOW_POLL_S: Final = 1.0
TICK_S: Final = 0.02
"""Precision of the kernel's time stamps of files and processes."""
STOP_FAST_S: Final = 30.0
STOP_IMMEDIATE_S: Final = 7.0
"""The postmaster itself gives its children 5 s before it kills them."""


_OPEN: Final = {"x86_64": {2: 0, 257: 1}, "aarch64": {56: 1}}
"""By machine: the calls that open a file, and which argument is the address of its path."""
_READ: Final = {"x86_64": {0, 17}, "aarch64": {63, 67}}
"""The calls that read, whose first argument is the descriptor."""
_PATH_BYTES: Final = 4096


@dataclass(frozen=True, kw_only=True, slots=True)
class Events:
    """Callbacks of `watch`; called in the event loop, and must not raise."""

    on_ready: Callable[[], None] = lambda: None
    """The server accepts connections now."""
    on_lost: Callable[[], None] = lambda: None
    """It no longer accepts connections: it is stopping, or gone."""
    on_exit: Callable[[int | None], None] = lambda _status: None
    """The process has ended; with its exit status where that is known."""
    on_reload: Callable[[], None] = lambda: None
    """A reload begins, as its log says."""
    on_not_reloaded: Callable[[ReloadError], None] = lambda _error: None
    """A part of its configuration was not reloaded, as its log says."""


class Server:
    """The server of one data directory."""

    def __init__(self, pgdata: Path) -> None:
        self._pgdata = pgdata
        self._process: Process | None = None
        """The process that `watch` reports on; kept after its end."""

    @property
    def ready(self) -> bool:
        """Whether it accepts connections, as postmaster.pid says; costs no SQL."""
        with self._postmaster() as process:
            return process is not None and self._says_ready(process)

    @property
    def running(self) -> bool:
        """Whether a verified postmaster exists (perhaps still starting)."""
        return self.pid is not None

    @property
    def begun(self) -> bool:
        """Whether the postmaster has read its files and loaded its libraries.

        It then says in postmaster.pid that it starts, which a recovery may follow that takes hours.
        """
        noted = read_pid_file(self._pgdata)
        with self._postmaster() as process:
            return process is not None and noted is not None and noted.begun(process.pid)

    @property
    def pid(self) -> int | None:
        """Pid of the verified postmaster, or None."""
        with self._postmaster() as process:
            return process.pid if process else None

    @property
    def in_recovery(self) -> bool | None:
        """Whether it is a standby; None while it is not ready."""
        return in_recovery(self._pgdata) if self.ready else None

    @property
    def is_primary(self) -> bool:
        """Whether its cluster is that of a primary, also while it does not run."""
        found = self.in_recovery
        return starts_as_primary(self._pgdata) if found is None else not found

    @property
    def shutdown_lsn(self) -> str | None:
        """LSN of the shutdown checkpoint of a primary that was shut down cleanly; else None."""
        return shutdown_lsn(self._pgdata)

    @property
    def has_read_files(self) -> bool:
        """Whether the postmaster, if there is one, has read its configuration files.

        It does so before it changes into its data directory.
        """
        with self._postmaster() as process:
            return process is None or works_in(process.pid, self._pgdata)

    def blocked_on(self) -> str | None:
        """Return the file that the postmaster waits for; None if there is none or it is unknown."""
        with self._postmaster() as process:
            return blocked_on(process.pid) if process else None

    def unblock(self, file: str) -> None:
        """Let the postmaster, which waits for the pipe *file*, go on as if it were empty.

        Best effort; anything but a pipe is left alone.
        """
        with suppress(OSError):
            if stat.S_ISFIFO(Path(file).stat().st_mode):
                os.close(os.open(file, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC))

    def started_after(self, at: datetime) -> bool:
        """Whether the postmaster was certainly started later than *at*; False if in doubt.

        Both what the kernel and what postmaster.pid says must be later, so that a clock that was
        set in between makes it doubtful at most.
        """
        noted = read_pid_file(self._pgdata)
        with self._postmaster() as process:
            if process is None or noted is None or noted.pid != process.pid:
                return False
            began = began_at(process.pid)
        moment = at.timestamp()
        if began is None or noted.start_time is None:
            return False
        return began > moment + TICK_S and noted.start_time >= int(moment)

    def read_log(self) -> None:
        """Process what the server has logged so far, if the daemon has its log."""

    def reload(self) -> bool:
        """Send SIGHUP to the verified postmaster; False where there is none.

        Raises:
            PostgresError: we may not signal it.
        """
        with self._postmaster() as process:
            return process is not None and _send(process, signal.SIGHUP)

    async def stop(
        self,
        *,
        immediate: bool = False,
        deadline_s: float = STOP_FAST_S,
        kill_after_s: float = STOP_IMMEDIATE_S,
    ) -> None:
        """Stop it: fast, after *deadline_s* immediately, at last by SIGKILL. No-op if it is down.

        Raises:
            PostgresError: we may not signal it, or it survives even that.
        """
        with self._postmaster() as process:
            if process is None:
                return
            steps = [(signal.SIGQUIT, kill_after_s), (signal.SIGKILL, STOP_IMMEDIATE_S)]
            if not immediate:
                steps.insert(0, (signal.SIGINT, deadline_s))
            for number, patience_s in steps:
                if not _send(process, number) or await process.ended(patience_s):
                    return
            raise PostgresError(f"could not stop postgres (pid {process.pid})")

    async def _follow(self, process: Process, events: Events) -> None:
        """Report on one process until it has ended."""
        loop = asyncio.get_running_loop()
        changed_at = loop.time()
        ready = False
        ended = False
        while not ended:
            if self._says_ready(process) != ready:
                ready = not ready
                changed_at = loop.time()
                (events.on_ready if ready else events.on_lost)()
            quick = not ready and loop.time() - changed_at < QUICK_FOR_S
            ended = await process.ended(QUICK_POLL_S if quick else SLOW_POLL_S)
        if ready:
            events.on_lost()

    def _postmaster(self) -> AbstractContextManager[Process | None]:
        """Return the postmaster that runs now, if any; the block that uses it closes it."""
        # One that was started just now is known before it has written postmaster.pid.
        process = self._process.again() if self._process else None
        return process or find(self._pgdata) or nullcontext()

    def _says_ready(self, process: Process) -> bool:
        noted = read_pid_file(self._pgdata)
        return noted is not None and noted.pid == process.pid and noted.ready and process.alive


class Attached(Server):
    """A server that somebody else starts and stops, such as systemd or pg_ctl."""

    async def watch(self, events: Events) -> None:
        """Report on the server and those started after it, until cancelled.

        Its exit status is not known, so `on_exit` comes without one.
        """
        loop = asyncio.get_running_loop()
        gone_at = loop.time() - QUICK_FOR_S
        while True:
            process = find(self._pgdata)
            if process is None:
                quick = loop.time() - gone_at < QUICK_FOR_S
                await asyncio.sleep(QUICK_POLL_S if quick else SLOW_POLL_S)
                continue
            with process:
                self._process = process
                await self._follow(process, events)
            gone_at = loop.time()
            events.on_exit(None)


def _send(process: Process, number: signal.Signals) -> bool:
    try:
        return process.signal(number)
    except PermissionError as error:
        raise PostgresError(
            f"could not send {number.name} to postgres (pid {process.pid}): {error.strerror}",
            hint="Run compute_ctl as root or as the owner of the data directory.",
        ) from error


def blocked_on(pid: int) -> str | None:
    """Return the path that process *pid* sleeps on while it opens or reads it, None if unknown.

    A pipe that nobody writes, or a file system that does not answer. From ``/proc/PID/syscall``
    (number and arguments of the system call, see proc(5)), which the kernel shows only to those who
    may trace the process.
    """
    with suppress(OSError, ValueError, IndexError):
        words = Path(f"/proc/{pid}/syscall").read_text("ascii").split()
        number, arguments = int(words[0]), [int(word, 16) for word in words[1:7]]
        machine = platform.machine()
        if (position := _OPEN.get(machine, {}).get(number)) is not None:
            return _text_at(pid, arguments[position])
        if number in _READ.get(machine, ()):
            path = str(Path(f"/proc/{pid}/fd/{arguments[0]}").readlink())
            return path if path.startswith("/") else None
    return None


def _text_at(pid: int, address: int) -> str | None:
    fd = os.open(f"/proc/{pid}/mem", os.O_RDONLY | os.O_CLOEXEC)
    try:
        text = os.pread(fd, _PATH_BYTES, address).partition(b"\0")[0]  # short where memory ends
    finally:
        os.close(fd)
    return os.fsdecode(text) or None
