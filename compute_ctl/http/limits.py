"""Limits on connections, so that silent or slow clients cannot block a listener.

aiohttp's own timers start with the first request. Here every connection has a deadline from the
start, except while its request is being handled (handlers have their own limits). Each listener
has a maximum number of connections; at that maximum, the oldest connection that has not sent a
request is closed to make room, so silent clients cannot keep a health probe out. If all are busy,
the next caller waits in the kernel's queue, and no request is dropped unread.
"""

from __future__ import annotations

import array
import asyncio
import fcntl
import logging
import socket
import termios
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from compute_ctl.http.errors import closing_response

logger = logging.getLogger(__name__)

_NO_ACCESS_LOG: Final = logging.getLogger(f"{__name__}.access")
_NO_ACCESS_LOG.disabled = True  # the pipeline writes its own

PATH_SHOWN: Final = 200
"""Characters of a path that are logged."""
SILENT_S: Final = 0.05
"""After which a connection without a request may be closed to make room."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ConnectionLimits:
    """Limits of one listener; times in seconds."""

    connections: int = 128
    header: float = 5.0
    """From the connect, or the first byte of a later request, to the end of the header."""
    body: float = 10.0
    """From the end of the header to the end of the body."""
    idle: float = 30.0
    """Between an answer and the next request; the client also has to take the answer in it."""


class ConnectionLimiter:
    """Limits the connections of one listener; the protocol factory of its sockets."""

    def __init__(
        self, server: web.Server, *, limits: ConnectionLimits, on_dropped: Callable[[str], None]
    ) -> None:
        self._server = server
        self._on_dropped = on_dropped
        self._connections: dict[Connection, None] = {}
        self._left = asyncio.Event()
        """Set when a connection ends."""
        self.limits = limits

    def __call__(self) -> Connection:
        """Return the protocol of a new connection."""
        return Connection(self._server, self, asyncio.get_running_loop())

    async def room(self) -> bool:
        """Wait until one more connection fits, closing a silent one if necessary.

        Return False if all are still busy after the time limit of a header.
        """
        clock = asyncio.get_running_loop().time
        end = clock() + self.limits.header
        while len(self._connections) >= self.limits.connections:
            silent = next((one for one in self._connections if one.silent(clock())), None)
            if silent is not None:
                self._on_dropped("full")
                self.forget(silent)
                silent.drop()
            elif clock() >= end:
                self._on_dropped("full")
                return False
            else:
                self._left.clear()
                with suppress(TimeoutError):
                    async with asyncio.timeout(SILENT_S):
                        await self._left.wait()
        return True

    def admit(self, connection: Connection) -> None:
        """Add *connection*."""
        self._connections[connection] = None

    def forget(self, connection: Connection) -> None:
        """Remove *connection*."""
        self._connections.pop(connection, None)
        self._left.set()

    def expired(self, connection: Connection) -> None:
        """Close *connection*, whose deadline has passed."""
        self.forget(connection)
        self._on_dropped("slow")
        connection.drop()


class Connection(web.RequestHandler):
    """One connection and its deadline."""

    def __init__(
        self, server: web.Server, limiter: ConnectionLimiter, loop: asyncio.AbstractEventLoop
    ) -> None:
        super().__init__(
            server,
            loop=loop,
            access_log=_NO_ACCESS_LOG,
            keepalive_timeout=2 * limiter.limits.idle,  # our own timer fires first
            lingering_time=2.0,
            auto_decompress=False,
        )
        self._limiter = limiter
        self._clock = loop
        self._timer: asyncio.TimerHandle | None = None
        self._wire: asyncio.Transport | None = None
        self._idle = False
        self.quiet = True
        """Whether no complete request is being handled."""
        self._quiet_since = loop.time()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Add the connection and start its timer."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 -- narrows the type
        self._wire = transport
        super().connection_made(transport)
        self._limiter.admit(self)
        self._expire_in(self._limiter.limits.header)

    def data_received(self, data: bytes) -> None:
        """Pass bytes on; the first bytes of a later request start its timer."""
        if self._idle:
            self._idle = False
            self._expire_in(self._limiter.limits.header)
        super().data_received(data)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Remove the connection."""
        self._wire = None
        self._expire_in(None)
        self._limiter.forget(self)
        super().connection_lost(exc)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer malformed HTTP in the format of all errors."""
        logger.debug("malformed request from %s", request.remote, exc_info=exc)
        return closing_response(
            status, "malformed HTTP request" if status < 500 else "internal error"
        )

    def body_expected(self) -> float:
        """Stop the header timer; return the seconds that the body may take."""
        self._idle = False
        self._expire_in(None)
        return self._limiter.limits.body

    def request_begins(self) -> None:
        """Stop the timer: the handler limits its own time."""
        self.quiet = self._idle = False
        self._expire_in(None)

    def request_ends(self) -> None:
        """Start the idle timer: the answer can be sent."""
        self.quiet = self._idle = True
        self._quiet_since = self._clock.time()
        self._expire_in(self._limiter.limits.idle)

    def silent(self, now: float) -> bool:
        """Whether it had time to send a request, and has not."""
        if not self.quiet or now - self._quiet_since < SILENT_S or self._wire is None:
            return False
        sock: socket.socket | None = self._wire.get_extra_info("socket")
        return sock is None or sock.fileno() < 0 or _unread(sock.fileno()) == 0

    def drop(self) -> None:
        """Abort: a graceful close would wait for the client."""
        self._expire_in(None)
        if self._wire is not None:
            self._wire.abort()

    def _expire_in(self, seconds: float | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if seconds is not None and self._wire is not None:
            self._timer = self._clock.call_later(seconds, self._limiter.expired, self)


def _unread(descriptor: int) -> int:
    """Return the number of unread bytes."""
    count = array.array("i", [0])
    fcntl.ioctl(descriptor, termios.FIONREAD, count)
    return count[0]


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
