"""The listeners: binds them, serves, and closes them in order."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from aiohttp import web

from compute_ctl.errors import SettingsError
from compute_ctl.http.accept import Acceptor
from compute_ctl.http.api import Api, CatalogService, HttpMetrics, Listener
from compute_ctl.http.auth import (
    Authenticator,
    TokenAuthenticator,
    authenticate_loopback,
    authenticate_socket,
)
from compute_ctl.http.limits import ConnectionLimiter, ConnectionLimits
from compute_ctl.http.pipeline import Pipeline
from compute_ctl.http.sockets import (
    PortTakenError,
    external_sockets,
    loopback_sockets,
    unix_socket,
)
from compute_ctl.http.startup import Startup
from compute_ctl.node import Node
from compute_ctl.settings import SOCKET_NAME, Settings

logger = logging.getLogger(__name__)

PORT_RETRY_S: Final = 1.0


@dataclass(kw_only=True, slots=True)
class _Open:
    """A listener that is open."""

    server: web.Server
    limiter: ConnectionLimiter
    acceptors: list[Acceptor]


class HttpServer:
    """The HTTP API of one node."""

    def __init__(
        self,
        *,
        node: Node,
        settings: Settings,
        metrics: HttpMetrics,
        catalog: CatalogService | None = None,
        limits: ConnectionLimits | None = None,
    ) -> None:
        self._settings = settings
        self._limits = limits or ConnectionLimits()
        startup = Startup()
        node.subscribe(startup)
        self._api = Api(
            node=node,
            metrics=metrics,
            deadlines=settings.deadlines,
            startup=startup,
            catalog=catalog,
        )
        self._open: dict[Listener, _Open] = {}
        self.internal_port = settings.internal_http_port
        """Port of the loopback listener; the one in use after `start`."""
        self.socket_path: Path = settings.state_path / SOCKET_NAME
        self._bound = False
        self._closed = [
            Listener.LOOPBACK,
            *([Listener.EXTERNAL] if settings.external_http_port else []),
        ]
        """Doors whose port is not open yet."""

    @property
    def catalog(self) -> CatalogService | None:
        """What answers for Postgres; may be set until `start`."""
        return self._api.catalog

    @catalog.setter
    def catalog(self, catalog: CatalogService) -> None:
        self._api.catalog = catalog

    @property
    def waiting(self) -> int:
        """Callers that wait for the outcome of a refresh."""
        return self._api.waiting

    async def start(self) -> None:
        """Open the unix socket, and the ports that can be had now; `run` opens the others.

        Raises:
            SettingsError: the socket, or a port that can never be had.
        """
        local = unix_socket(self.socket_path, group=self._settings.socket_group)
        self._bound = True
        self._serve(Listener.SOCKET, [local], authenticate_socket)
        try:
            self._open_ports()
        except SettingsError:
            await self.stop(0.0)
            raise
        logger.info('listening on unix socket "%s"', self.socket_path)

    async def run(self) -> None:
        """Try again to open the ports that somebody else has; end when all are open."""
        while self._closed:
            await asyncio.sleep(PORT_RETRY_S)
            try:
                self._open_ports()
            except SettingsError as error:  # it could once be had, so it may be again
                logger.error("%s", error)

    def _open_ports(self) -> None:
        """Open what is closed and can be had; say once what cannot."""
        node, settings = self._api.node, self._settings
        for listener in list(self._closed):
            try:
                sockets = self._bind(listener)
            except PortTakenError as error:
                if node.closed_ports.get(listener.value) != str(error):
                    logger.error("%s; trying again each second (%s)", error, error.hint)
                node.closed_ports[listener.value] = str(error)
                continue
            authenticate = (
                authenticate_loopback
                if listener is Listener.LOOPBACK
                else TokenAuthenticator(node=node, settings=settings)
            )
            self._serve(listener, sockets, authenticate)
            self._closed.remove(listener)
            node.closed_ports.pop(listener.value, None)
            if listener is Listener.LOOPBACK:
                self.internal_port = sockets[0].getsockname()[1]
            for sock in sockets:
                host, port = sock.getsockname()[:2]
                shown = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
                logger.info("listening on %s", shown)

    def _bind(self, listener: Listener) -> list[socket.socket]:
        if listener is Listener.LOOPBACK:
            return loopback_sockets(self._settings.internal_http_port)
        return external_sockets(self._settings.external_http_port)

    async def remake_socket(self) -> bool:
        """Bind the unix socket again if somebody has removed it; return whether that was so.

        Raises:
            SettingsError: it cannot be had.
        """
        opened = self._open.get(Listener.SOCKET)
        if opened is None or _exists(self.socket_path):
            return False
        sock = unix_socket(self.socket_path, group=self._settings.socket_group)
        for acceptor in opened.acceptors:
            acceptor.close()  # nobody can reach it any more
        opened.acceptors = [Acceptor(sock, opened.limiter)]
        logger.warning('unix socket "%s" was gone, listening on a new one', self.socket_path)
        return True

    async def stop(self, deadline_s: float) -> None:
        """Close the listeners; requests being worked on get *deadline_s* seconds to end."""
        for listener in self._open.values():
            for acceptor in listener.acceptors:
                acceptor.close()
            listener.server.pre_shutdown()  # idle connections end at once
        if self._bound:
            self._bound = False
            with suppress(OSError):
                self.socket_path.unlink()
        # aiohttp spends its limit twice: on waiting for a handler, and again after cancelling it
        await asyncio.gather(
            *(listener.server.shutdown(deadline_s / 2) for listener in self._open.values())
        )
        self._open.clear()

    def _serve(
        self, listener: Listener, sockets: list[socket.socket], authenticate: Authenticator
    ) -> None:
        opened = listener is Listener.LOOPBACK and self._settings.extensions_on_loopback
        pipeline = Pipeline(
            api=self._api, listener=listener, authenticate=authenticate, opened=opened
        )
        server = web.Server(pipeline, handler_cancellation=True)
        limiter = ConnectionLimiter(server, limits=self._limits, on_dropped=self._counter(listener))
        acceptors = [Acceptor(sock, limiter) for sock in sockets]
        self._open[listener] = _Open(server=server, limiter=limiter, acceptors=acceptors)

    def _counter(self, listener: Listener) -> Callable[[str], None]:
        return lambda reason: self._api.metrics.on_dropped(listener.value, reason)


def _exists(path: Path) -> bool:
    return os.path.lexists(path)
