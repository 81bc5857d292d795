"""A server that the daemon runs: created, started, adopted after the daemon crashed, stopped."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

from compute_ctl.decisions.reload_errors import ReloadError
from compute_ctl.errors import PostgresError
from compute_ctl.postgres.identity import was_shut_down
from compute_ctl.postgres.logs import LogPipe
from compute_ctl.postgres.messages import ReloadLog, StartLog
from compute_ctl.postgres.postmaster import Process, catches, find
from compute_ctl.postgres.programs import (
    child_environment,
    make_cluster,
    resolve,
)
from compute_ctl.postgres.server import Events, Server

_log = logging.getLogger(__name__)


def _to_log(record: str) -> None:
    _log.info("PG:%s", record)


class Supervised(Server):
    """Starts the server and knows its exit status. Everything runs in the event loop."""

    def __init__(
        self,
        pgdata: Path,
        *,
        pgbin: str,
        superuser: str,
        log_pipe: Path,
        on_record: Callable[[str], None] = _to_log,
    ) -> None:
        """*log_pipe* is a path in the state folder; *on_record* takes the server's log."""
        super().__init__(pgdata)
        self._pgbin = pgbin
        self._superuser = superuser
        self._on_record = on_record
        self._logs = LogPipe(log_pipe, on_record=self._record, on_overflow=_overflowed)
        self._start_log = StartLog()
        self._events = Events()
        self._reload_log = ReloadLog(on_reload=self._reload_begins, on_error=self._not_reloaded)
        self._child: subprocess.Popen[bytes] | None = None
        self._begins = False
        """It was started, and may not have installed its SIGHUP handler yet."""
        self._started = asyncio.Event()

    @property
    def failure(self) -> str:
        """Why the server ended before it was ready, in its own words; '' where it has not said."""
        return self._start_log.failure

    def read_log(self) -> None:
        """Process what the server has logged so far."""
        self._logs.drain()

    def _reload_begins(self) -> None:
        self._events.on_reload()

    def _not_reloaded(self, error: ReloadError) -> None:
        self._events.on_not_reloaded(error)

    def _record(self, record: str) -> None:
        self._start_log.take(record)
        self._reload_log.take(record)
        self._on_record(record)

    async def make_cluster(self, folder: Path) -> None:
        """Create a new cluster in *folder*, which is empty. Raises PostgresError."""
        await make_cluster(folder, pgbin=self._pgbin, superuser=self._superuser)

    def start(self, environment: Mapping[str, str] | None = None) -> bool:
        """Start the server, or adopt the one that runs; return whether it was adopted.

        *environment* is added to the daemon's own. Returns at once: `watch` tells when the server
        is ready, or has ended.

        Raises:
            PostgresError: it could not be started.
        """
        if self._process is not None and self._process.alive:
            return True
        running = find(self._pgdata)
        try:
            self._logs.open()
        except OSError as error:
            _log.warning("could not collect the log of postgres: %s", error.strerror or error)
        self._start_log = StartLog()
        if running is None:
            self._child = self._spawn(environment)
            self._begins = True
            running = Process.open(self._child.pid)
            if running is None:
                raise PostgresError("could not watch postgres: no pidfd")
        if self._process is not None:
            self._process.close()
        self._process = running
        self._started.set()
        return self._child is None or self._child.pid != running.pid

    def reload(self) -> bool:
        """Send SIGHUP, as `Server` does, but not to a server that would die of it.

        A new process installs its handlers before it reads any file; until then SIGHUP ends it,
        and it reads the newest files anyway.

        Raises:
            PostgresError: we may not signal it.
        """
        process = self._process
        if self._begins and process is not None and process.alive:
            if not catches(process.pid, signal.SIGHUP):
                return True
            self._begins = False
        return super().reload()

    async def watch(self, events: Events) -> None:
        """Report on every start of the server, until cancelled.

        `on_exit` gets the exit status (128 + N for signal N); for an adopted server, whose status
        nobody can know, 0 where it was shut down in good order, else 1.
        """
        self._events = events
        while True:
            await self._started.wait()
            self._started.clear()
            process = self._process
            if process is None:
                continue
            await self._follow(process, events)
            self._logs.drain()
            events.on_exit(self._status(process))

    def close(self) -> None:
        """Stop collecting the log; the server runs on."""
        self._logs.close()
        if self._process is not None:
            self._process.close()
            self._process = None

    def _spawn(self, environment: Mapping[str, str] | None) -> subprocess.Popen[bytes]:
        command = [str(resolve(self._pgbin)), "-D", str(self._pgdata)]
        try:
            output = self._logs.writer()
        except OSError:
            output = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        try:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd="/",
                env=child_environment(environment),
                start_new_session=True,  # an interrupt at our terminal is ours to pass on
                restore_signals=True,
            )
        except OSError as error:
            raise PostgresError(f'could not run "{command[0]}": {error.strerror}') from error
        finally:
            os.close(output)

    def _status(self, process: Process) -> int:
        if self._child is None or self._child.pid != process.pid:
            return 0 if was_shut_down(self._pgdata) else 1
        code = self._child.wait()  # it has ended: this only collects its status
        if code < 0:
            _log.warning("postgres was ended by %s", signal.Signals(-code).name)
            return 128 - code
        return code


def _overflowed() -> None:
    _log.warning("log lines of postgres were lost: the daemon did not read in time")
