"""Reads a base backup from a pageserver, as a file: one connection, one COPY. For one thread.

Every wait ends at a deadline, or when the reader is cancelled from another thread. Only a name
lookup is not bounded.
"""

from __future__ import annotations

import os
import select
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from compute_common.redact import redact
from compute_ctl.decisions.backup_request import BackupRequest
from compute_ctl.document.conninfo import parse
from compute_ctl.errors import BackupError, ProbeError
from compute_ctl.sql.addresses import resolve

if TYPE_CHECKING:
    from psycopg import pq  # imported at the first connect: it costs 10 MB


class Cancellation:
    """Ends the waits of a thread; set once, from any thread."""

    def __init__(self) -> None:
        self.fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._open = True
        self._lock = threading.Lock()

    def set(self) -> None:
        """End the waits, those to come included."""
        with self._lock, suppress(OSError):
            if self._open:
                os.eventfd_write(self.fd, 1)

    def close(self) -> None:
        """Close it, as the thread has ended; `set` has no effect any more."""
        with self._lock:
            if self._open:
                os.close(self.fd)
            self._open = False


@dataclass
class CopyOut:
    """The archive as a pageserver sends it; use `connect`, `begin`, `read`, `close`."""

    request: BackupRequest
    cancellation: Cancellation
    connect_s: float
    stall_s: float
    """How long the pageserver may send nothing."""
    received: int = 0
    """Bytes of the archive so far, as they came over the wire."""
    _connection: pq.abc.PGconn | None = field(default=None, repr=False)
    _left: bytes = field(default=b"", repr=False)
    _ended: bool = False

    @property
    def node(self) -> str:
        """The pageserver as ``host:port``."""
        return parse(self.request.server).address or "without a host"

    def connect(self) -> None:
        """Log in. Raises BackupError."""
        from psycopg import Error

        try:
            self._connect(time.monotonic() + self.connect_s)
        except (Error, ProbeError) as error:
            raise self._failed(str(error)) from None

    def _connect(self, deadline: float) -> None:
        from psycopg import pq

        connection = pq.PGconn.connect_start(self._conninfo())
        self._connection = connection
        step: int = pq.PollingStatus.WRITING
        while connection.status != pq.ConnStatus.BAD and step != pq.PollingStatus.FAILED:
            self._wait(writing=step == pq.PollingStatus.WRITING, deadline=deadline)
            step = connection.connect_poll()
            if step == pq.PollingStatus.OK:
                connection.nonblocking = 1
                return
        raise self._failed(connection.get_error_message())

    def begin(self, command: str) -> None:
        """Ask for the archive, by the extended protocol as Neon's own client does.

        Raises:
            BackupError: the pageserver refuses, or does not answer.
        """
        from psycopg import Error, pq

        connection = self._get_connection()
        try:
            connection.send_query_params(command.encode(), None)
            while connection.flush():
                self._wait(writing=True)
            while connection.is_busy():
                self._wait()
                connection.consume_input()
            result = connection.get_result()
        except Error as error:
            raise self._failed(str(error)) from None
        if result is None or result.status != pq.ExecStatus.COPY_OUT:
            if result is not None and result.status == pq.ExecStatus.FATAL_ERROR:
                raise self._failed(result.get_error_message())
            raise self._failed("it sends no archive")

    def read(self, size: int, /) -> bytes:
        """Return up to *size* bytes, b"" after the last.

        Raises:
            BackupError: the copy failed, perhaps after the last byte of the archive.
        """
        from psycopg import Error

        try:
            while not self._left and not self._ended:
                self._receive()
        except Error as error:
            raise self._failed(str(error)) from None
        part, self._left = self._left[:size], self._left[size:]
        return part

    def _receive(self) -> None:
        connection = self._get_connection()
        size, part = connection.get_copy_data(1)
        if size > 0:
            self.received += size
            self._left = bytes(part)
        elif size == 0:
            self._wait()
            connection.consume_input()
        else:
            self._end(connection)

    def _end(self, connection: pq.abc.PGconn) -> None:
        """Take what follows the last byte: success, or an error."""
        from psycopg import pq

        while True:
            while connection.is_busy():
                self._wait()
                connection.consume_input()
            result = connection.get_result()
            if result is None:
                break
            if result.status != pq.ExecStatus.COMMAND_OK:
                raise self._failed(result.get_error_message())
        self._ended = True

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._connection is not None:
            self._connection.finish()
            self._connection = None

    def _get_connection(self) -> pq.abc.PGconn:
        assert self._connection is not None  # noqa: S101 (connect came first)
        return self._connection

    def _conninfo(self) -> bytes:
        from psycopg.conninfo import conninfo_to_dict, make_conninfo

        given = conninfo_to_dict(self.request.server)
        more: dict[str, str] = resolve(given, os.environ)
        if self.request.token is not None:
            more["password"] = self.request.token
        return make_conninfo(
            self.request.server,
            application_name="compute_ctl",
            options=f"-c neon.compute_mode={self.request.mode}",
            gssencmode="disable",
            connect_timeout=None,
            **more,
        ).encode()

    def _wait(self, *, writing: bool = False, deadline: float | None = None) -> None:
        connection = self._get_connection()
        until = time.monotonic() + self.stall_s if deadline is None else deadline
        poll = select.poll()
        poll.register(connection.socket, select.POLLOUT if writing else select.POLLIN)
        poll.register(self.cancellation.fd, select.POLLIN)
        ready = poll.poll(max(0.0, until - time.monotonic()) * 1000)
        if not ready:
            limit = self.connect_s if deadline is not None else self.stall_s
            raise self._failed(f"no answer within {limit:g} s")
        if any(fd == self.cancellation.fd for fd, _ in ready):
            raise self._failed("given up")

    def _failed(self, reason: str) -> BackupError:
        return BackupError(f"pageserver {self.node}: {redact(' '.join(reason.split()))}")
