"""Limits on connections, so that silent or slow clients cannot block a listener.

aiohttp's own timers start with the first request. Here every connection has a deadline from the
start, except while its request is being handled (handlers have their own limits). Each listener
has a maximum number of connections; at that maximum, the connection that has been without a
request for longest is closed to make room, so silent clients cannot keep a health probe out. If all
are busy, the next caller waits in the kernel's queue, and no request is dropped unread. Busy ones
are not looked at for that: there may be tens of thousands of held requests.
"""

from __future__ import annotations

import array
import asyncio
import fcntl
import logging
import socket
import ssl
import termios
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from compute_common.http.errors import closing_response
from compute_common.http.tls import begin_tls

logger = logging.getLogger(__name__)

_NO_ACCESS_LOG: Final = logging.getLogger(f"{__name__}.access")
_NO_ACCESS_LOG.disabled = True  # the pipeline writes its own

SILENT_S: Final = 0.05
"""After which a connection without a request may be closed to make room."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ConnectionLimits:
    """Limits of one listener; times in seconds."""

    connections: int = 128
    header: float = 5.0
    """From the connect, or the first byte of a later request, to the end of the header. With TLS
    the handshake gets as long again."""
    body: float = 10.0
    """From the end of the header to the end of the body."""
    idle: float = 30.0
    """Between an answer and the next request; the client also has to take the answer in it."""


class ConnectionLimiter:
    """Limits the connections of one listener; the protocol factory of its sockets."""

    def __init__(
        self,
        server: web.Server,
        *,
        limits: ConnectionLimits,
        on_dropped: Callable[[str], None],
        program: str,
    ) -> None:
        """*program* is the Server header of answers to malformed requests."""
        self._server = server
        self._on_dropped = on_dropped
        self._quiet: dict[Connection, None] = {}
        """Those without a request in progress; first the one that has been so longest."""
        self._busy: set[Connection] = set()
        self._handshakes: dict[asyncio.Task[None], float] = {}
        """TLS handshakes and when they began, in order."""
        self._left = asyncio.Event()
        """Set when a connection ends."""
        self.limits = limits
        self.program = program

    def __call__(self) -> Connection:
        """Return the protocol of a new connection."""
        return Connection(self._server, self, asyncio.get_running_loop())

    async def room(self) -> bool:
        """Wait until one more connection fits, closing a silent one if necessary.

        Return False if all are still busy after the time limit of a header.
        """
        clock = asyncio.get_running_loop().time
        end = clock() + self.limits.header
        while self._count() >= self.limits.connections:
            if self._drop_silent(clock()):
                self._on_dropped("full")
            elif clock() >= end:
                self._on_dropped("full")
                return False
            else:
                self._left.clear()
                with suppress(TimeoutError):
                    async with asyncio.timeout(SILENT_S):
                        await self._left.wait()
        return True

    def _count(self) -> int:
        return len(self._quiet) + len(self._busy) + len(self._handshakes)

    def _drop_silent(self, now: float) -> bool:
        """Close the first connection that is silent, if there is one."""
        for connection in self._quiet:
            if connection.quiet_for(now) < SILENT_S:
                break  # those after it have been silent for less
            if not connection.has_unread():
                self.forget(connection)
                connection.drop()
                return True
        handshake, begun = next(iter(self._handshakes.items()), (None, now))
        if handshake is None or now - begun < SILENT_S:
            return False
        del self._handshakes[handshake]
        handshake.cancel()
        return True

    def admit(self, connection: Connection) -> None:
        """Add *connection*, new or after an answer, at the end of those that may be closed."""
        self._busy.discard(connection)
        self._quiet.pop(connection, None)
        self._quiet[connection] = None

    def occupy(self, connection: Connection) -> None:
        """Note that *connection* has a request in progress."""
        if connection in self._quiet:
            del self._quiet[connection]
            self._busy.add(connection)

    def forget(self, connection: Connection) -> None:
        """Remove *connection*."""
        self._quiet.pop(connection, None)
        self._busy.discard(connection)
        self._left.set()

    def expired(self, connection: Connection) -> None:
        """Close *connection*, whose deadline has passed."""
        self.forget(connection)
        self._on_dropped("slow")
        connection.drop()

    def shake_hands(self, accepted: socket.socket, context: ssl.SSLContext) -> None:
        """Begin TLS on *accepted*, beside others: a caller may take its time."""
        loop = asyncio.get_running_loop()
        task = loop.create_task(self._shake_hands(accepted, context), name="TLS handshake")
        self._handshakes[task] = loop.time()

        def ended(task: asyncio.Task[None]) -> None:
            self._handshakes.pop(task, None)
            self._left.set()
            if task.cancelled():
                accepted.close()  # it may not have begun
            elif (error := task.exception()) is not None:
                logger.critical("TLS handshake died: %s", error, exc_info=error)

        task.add_done_callback(ended)

    async def _shake_hands(self, accepted: socket.socket, context: ssl.SSLContext) -> None:
        try:
            async with asyncio.timeout(self.limits.header):
                await begin_tls(self(), accepted, context, shutdown_s=self.limits.header)
        except TimeoutError:
            self._on_dropped("slow")
        except OSError as error:
            logger.debug("TLS handshake failed: %s", error)

    def close(self) -> None:
        """End the handshakes; connections end with the server."""
        for task in self._handshakes:
            task.cancel()


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
        self._quiet_since = loop.time()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Add the connection and start its timer."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 -- narrows the type
        self._wire = transport
        super().connection_made(transport)
        self._quiet_since = self._clock.time()
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
            status,
            "malformed HTTP request" if status < 500 else "internal error",
            program=self._limiter.program,
        )

    def body_expected(self) -> float:
        """Stop the header timer; return the seconds that the body may take."""
        self._idle = False
        self._expire_in(None)
        return self._limiter.limits.body

    def request_begins(self) -> None:
        """Stop the timer: the handler limits its own time."""
        self._idle = False
        self._limiter.occupy(self)
        self._expire_in(None)

    def request_ends(self) -> None:
        """Start the idle timer: the answer can be sent."""
        self._idle = True
        self._quiet_since = self._clock.time()
        if self._wire is not None:
            self._limiter.admit(self)
        self._expire_in(self._limiter.limits.idle)

    def quiet_for(self, now: float) -> float:
        """Return for how many seconds it has had no complete request."""
        return now - self._quiet_since

    def has_unread(self) -> bool:
        """Whether bytes have come that were not looked at yet."""
        sock: socket.socket | None = self._wire.get_extra_info("socket") if self._wire else None
        return sock is not None and sock.fileno() >= 0 and _unread(sock.fileno()) > 0

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
