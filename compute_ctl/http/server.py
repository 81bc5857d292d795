"""The HTTP server: opens the listeners, accepts connections, and closes in order.

Connections are not accepted by asyncio's own server. That one accepts connections for which there
is no room, and when file descriptors run out it logs a traceback for each waiting connection, again
and again. Here, connections without room stay in the kernel's queue, and an accept error is logged
once a minute.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from aiohttp import web

from compute_common.errors import SettingsError
from compute_ctl.http.api import Api, Listener
from compute_ctl.http.auth import (
    Authenticator,
    authenticate_loopback,
    authenticate_socket,
)
from compute_ctl.http.limits import ConnectionLimiter, ConnectionLimits
from compute_ctl.http.pipeline import Pipeline
from compute_ctl.http.sockets import (
    ANY,
    LOOPBACK,
    PortTakenError,
    tcp_socket,
    unix_socket,
)
from compute_ctl.settings import SOCKET_NAME, Settings

logger = logging.getLogger(__name__)

PORT_RETRY_S: Final = 1.0
ACCEPT_PAUSE_S: Final = 0.2
"""After an accept error, which is likely to last for a while."""
ACCEPT_LOG_S: Final = 60.0
"""Between two log lines about accept errors."""


@dataclass(kw_only=True, slots=True)
class _Open:
    """The parts of an open listener."""

    server: web.Server
    limiter: ConnectionLimiter
    acceptors: list[Acceptor]


class HttpServer:
    """The HTTP API of one node."""

    def __init__(
        self,
        *,
        api: Api,
        settings: Settings,
        authenticate_external: Authenticator,
        limits: ConnectionLimits,
    ) -> None:
        self.api = api
        self._settings = settings
        self._authenticators = {
            Listener.LOOPBACK: authenticate_loopback,
            Listener.SOCKET: authenticate_socket,
            Listener.EXTERNAL: authenticate_external,
        }
        self._limits = limits
        self._open: dict[Listener, _Open] = {}
        self.internal_port = settings.internal_http_port
        """Port of the loopback listener, as bound after `start`."""
        self.socket_path: Path = settings.state_path / SOCKET_NAME
        self._bound = False
        self._closed = [(Listener.LOOPBACK, host) for host in LOOPBACK]
        """Addresses whose port is not open yet."""
        if settings.external_http_port:
            self._closed += [(Listener.EXTERNAL, host) for host in ANY]

    async def start(self) -> None:
        """Open the unix socket and the ports that are free; `run` opens the others later.

        Raises:
            SettingsError: the socket cannot be opened, or a port for a permanent reason.
        """
        local = unix_socket(self.socket_path, group=self._settings.socket_group)
        self._bound = True
        self._serve(Listener.SOCKET, local)
        try:
            self._open_ports()
        except SettingsError:
            await self.stop(0.0)
            raise
        logger.info('listening on unix socket "%s"', self.socket_path)

    async def run(self) -> None:
        """Retry the ports that another process has; return when all are open."""
        while self._closed:
            await asyncio.sleep(PORT_RETRY_S)
            try:
                self._open_ports()
            except SettingsError as error:  # it may be available again later
                logger.error("%s", error)

    def _open_ports(self) -> None:
        """Open the closed ports that are free, each address by itself; log each other one once."""
        node = self.api.node
        for listener, host in list(self._closed):
            try:
                sock = self._bind(listener, host)
            except PortTakenError as error:
                if node.port_closed(host, str(error)):
                    logger.error("%s; trying again each second (%s)", error, error.hint)
                continue
            self._closed.remove((listener, host))
            node.port_opened(host)
            if sock is None:
                continue
            self._serve(listener, sock)
            port = sock.getsockname()[1]
            if listener is Listener.LOOPBACK:
                self.internal_port = port
            logger.info("listening on %s", f"[{host}]:{port}" if ":" in host else f"{host}:{port}")

    def _bind(self, listener: Listener, host: str) -> socket.socket | None:
        if listener is Listener.LOOPBACK:
            return tcp_socket(host, self.internal_port, option="--internal-http-port")
        return tcp_socket(host, self._settings.external_http_port, option="--external-http-port")

    async def remake_socket(self) -> bool:
        """Bind the unix socket again if its file was removed; return whether it was.

        Raises:
            SettingsError: it cannot be opened.
        """
        opened = self._open.get(Listener.SOCKET)
        if opened is None or _exists(self.socket_path):
            return False
        sock = unix_socket(self.socket_path, group=self._settings.socket_group)
        for acceptor in opened.acceptors:
            acceptor.close()  # unreachable without its file
        opened.acceptors = [Acceptor(sock, opened.limiter)]
        logger.warning('unix socket "%s" was gone, listening on a new one', self.socket_path)
        return True

    async def stop(self, deadline_s: float) -> None:
        """Close the listeners; requests in progress get *deadline_s* seconds to finish."""
        for listener in self._open.values():
            for acceptor in listener.acceptors:
                acceptor.close()
            listener.server.pre_shutdown()  # idle connections end at once
        if self._bound:
            self._bound = False
            with suppress(OSError):
                self.socket_path.unlink()
        # aiohttp waits this long for a handler to end, and again after cancelling it
        await asyncio.gather(
            *(listener.server.shutdown(deadline_s / 2) for listener in self._open.values())
        )
        self._open.clear()

    def _serve(self, listener: Listener, sock: socket.socket) -> None:
        opened = self._open.get(listener)
        if opened is None:
            pipeline = Pipeline(
                api=self.api,
                listener=listener,
                authenticate=self._authenticators[listener],
                opened=listener is Listener.LOOPBACK and self._settings.extensions_on_loopback,
            )
            server = web.Server(pipeline, handler_cancellation=True)
            limiter = ConnectionLimiter(
                server, limits=self._limits, on_dropped=self._counter(listener)
            )
            opened = self._open[listener] = _Open(server=server, limiter=limiter, acceptors=[])
        opened.acceptors.append(Acceptor(sock, opened.limiter))

    def _counter(self, listener: Listener) -> Callable[[str], None]:
        return lambda reason: self.api.metrics.on_dropped(listener.value, reason)


class Acceptor:
    """Accepts the connections of one listening socket."""

    def __init__(self, sock: socket.socket, limiter: ConnectionLimiter) -> None:
        """Start accepting; must be called in the event loop's thread."""
        self._sock = sock
        self._limiter = limiter
        self._logged_at = -math.inf
        self._task = asyncio.get_running_loop().create_task(self._run(), name="accept")
        self._task.add_done_callback(_log_death)

    def close(self) -> None:
        """Stop accepting; the kernel resets the connections in its queue."""
        self._task.cancel()
        self._sock.close()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                accepted, _ = await loop.sock_accept(self._sock)
            except ConnectionError:
                continue  # the client has gone
            except OSError as error:
                self._failed(error)
                await asyncio.sleep(ACCEPT_PAUSE_S)
                continue
            try:
                if await self._limiter.room():
                    await loop.connect_accepted_socket(self._limiter, accepted)
                else:
                    accepted.close()
            except OSError as error:
                accepted.close()
                logger.debug("connection lost while accepting it: %s", error)
            except asyncio.CancelledError:
                accepted.close()
                raise

    def _failed(self, error: OSError) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._logged_at >= ACCEPT_LOG_S:
            self._logged_at = now
            logger.error("could not accept a connection: %s", error.strerror or error)


def _log_death(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        logger.critical("listener died: %s", error, exc_info=error)


def _exists(path: Path) -> bool:
    return os.path.lexists(path)
