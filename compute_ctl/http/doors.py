"""The doors: binds them, serves, and closes them in order."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from compute_ctl.errors import SettingsError
from compute_ctl.http.api import Api, Catalog, Door, Meter
from compute_ctl.http.gates import Gate, TokenGate, loopback_gate, socket_gate
from compute_ctl.http.guard import Guard, Limits
from compute_ctl.http.listen import external_sockets, loopback_sockets, unix_socket
from compute_ctl.http.pipeline import Pipeline
from compute_ctl.http.startup import Startup
from compute_ctl.node import Node
from compute_ctl.settings import SOCKET_NAME, Settings

logger = logging.getLogger(__name__)


@dataclass(kw_only=True, slots=True)
class _Open:
    """A door that is open."""

    server: web.Server
    guard: Guard
    listeners: list[asyncio.Server]


class Doors:
    """The HTTP API of one node."""

    def __init__(
        self,
        *,
        node: Node,
        settings: Settings,
        meter: Meter,
        catalog: Catalog | None = None,
        limits: Limits | None = None,
    ) -> None:
        self._settings = settings
        self._limits = limits or Limits()
        startup = Startup()
        node.subscribe(startup)
        self._api = Api(
            node=node,
            meter=meter,
            deadlines=settings.deadlines,
            startup=startup,
            catalog=catalog,
        )
        self._open: dict[Door, _Open] = {}
        self.internal_port = settings.internal_http_port
        """Port of the loopback door; the one in use after `start`."""
        self.socket_path: Path = settings.state_path / SOCKET_NAME
        self._bound = False

    @property
    def catalog(self) -> Catalog | None:
        """What answers for Postgres; may be set until `start`."""
        return self._api.catalog

    @catalog.setter
    def catalog(self, catalog: Catalog) -> None:
        self._api.catalog = catalog

    @property
    def waiting(self) -> int:
        """Callers that wait for the outcome of a refresh."""
        return self._api.waiting

    async def start(self) -> None:
        """Open all doors, or none.

        Raises:
            SettingsError: a port or the socket cannot be had.
        """
        settings = self._settings
        bound: list[socket.socket] = []
        try:
            bound += (tcp := loopback_sockets(settings.internal_http_port))
            port = settings.external_http_port
            bound += (outer := external_sockets(port) if port else [])
            local = unix_socket(self.socket_path, group=settings.socket_group)
        except SettingsError:
            for sock in bound:
                sock.close()
            raise
        self._bound = True
        self.internal_port = tcp[0].getsockname()[1]
        await self._serve(Door.LOOPBACK, tcp, loopback_gate)
        await self._serve(Door.SOCKET, [local], socket_gate)
        await self._serve(Door.EXTERNAL, outer, TokenGate(node=self._api.node, settings=settings))
        for sock in bound:
            host, port = sock.getsockname()[:2]
            logger.info("listening on %s", f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
        logger.info('listening on unix socket "%s"', self.socket_path)

    async def remake_socket(self) -> bool:
        """Bind the unix socket again if somebody has removed it; return whether that was so.

        Raises:
            SettingsError: it cannot be had.
        """
        opened = self._open.get(Door.SOCKET)
        if opened is None or _exists(self.socket_path):
            return False
        sock = unix_socket(self.socket_path, group=self._settings.socket_group)
        for listener in opened.listeners:
            listener.close()  # nobody can reach it any more
        loop = asyncio.get_running_loop()
        opened.listeners = [await loop.create_server(opened.guard, sock=sock)]
        logger.warning('unix socket "%s" was gone, listening on a new one', self.socket_path)
        return True

    async def stop(self, deadline_s: float) -> None:
        """Close the doors; requests being worked on get *deadline_s* seconds to end."""
        for door in self._open.values():
            for listener in door.listeners:
                listener.close()
            door.server.pre_shutdown()  # idle connections end at once
        if self._bound:
            self._bound = False
            with suppress(OSError):
                self.socket_path.unlink()
        # aiohttp spends its limit twice: on waiting for a handler, and again after cancelling it
        await asyncio.gather(
            *(door.server.shutdown(deadline_s / 2) for door in self._open.values())
        )
        self._open.clear()

    async def _serve(self, door: Door, sockets: list[socket.socket], gate: Gate) -> None:
        opened = door is Door.LOOPBACK and self._settings.extensions_on_loopback
        pipeline = Pipeline(api=self._api, door=door, gate=gate, opened=opened)
        server = web.Server(pipeline, handler_cancellation=True)
        guard = Guard(server, limits=self._limits, on_dropped=self._counter(door))
        loop = asyncio.get_running_loop()
        listeners = [await loop.create_server(guard, sock=sock) for sock in sockets]
        self._open[door] = _Open(server=server, guard=guard, listeners=listeners)

    def _counter(self, door: Door) -> Callable[[str], None]:
        return lambda reason: self._api.meter.on_dropped(door.value, reason)


def _exists(path: Path) -> bool:
    return os.path.lexists(path)
