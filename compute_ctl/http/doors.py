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
from typing import Final

from aiohttp import web

from compute_ctl.errors import SettingsError
from compute_ctl.http.accept import Listener
from compute_ctl.http.api import Api, Catalog, Door, Meter
from compute_ctl.http.gates import Gate, TokenGate, loopback_gate, socket_gate
from compute_ctl.http.guard import Guard, Limits
from compute_ctl.http.listen import (
    PortTakenError,
    external_sockets,
    loopback_sockets,
    unix_socket,
)
from compute_ctl.http.pipeline import Pipeline
from compute_ctl.http.startup import Startup
from compute_ctl.node import Node
from compute_ctl.settings import SOCKET_NAME, Settings

logger = logging.getLogger(__name__)

PORT_RETRY_S: Final = 1.0


@dataclass(kw_only=True, slots=True)
class _Open:
    """A door that is open."""

    server: web.Server
    guard: Guard
    listeners: list[Listener]


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
        self._closed = [Door.LOOPBACK, *([Door.EXTERNAL] if settings.external_http_port else [])]
        """Doors whose port is not open yet."""

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
        """Open the unix socket, and the ports that can be had now; `run` opens the others.

        Raises:
            SettingsError: the socket, or a port that can never be had.
        """
        local = unix_socket(self.socket_path, group=self._settings.socket_group)
        self._bound = True
        self._serve(Door.SOCKET, [local], socket_gate)
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
        for door in list(self._closed):
            try:
                sockets = self._bind(door)
            except PortTakenError as error:
                if node.closed_ports.get(door.value) != str(error):
                    logger.error("%s; trying again each second (%s)", error, error.hint)
                node.closed_ports[door.value] = str(error)
                continue
            gate = (
                loopback_gate if door is Door.LOOPBACK else TokenGate(node=node, settings=settings)
            )
            self._serve(door, sockets, gate)
            self._closed.remove(door)
            node.closed_ports.pop(door.value, None)
            if door is Door.LOOPBACK:
                self.internal_port = sockets[0].getsockname()[1]
            for sock in sockets:
                host, port = sock.getsockname()[:2]
                shown = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
                logger.info("listening on %s", shown)

    def _bind(self, door: Door) -> list[socket.socket]:
        if door is Door.LOOPBACK:
            return loopback_sockets(self._settings.internal_http_port)
        return external_sockets(self._settings.external_http_port)

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
        opened.listeners = [Listener(sock, opened.guard)]
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

    def _serve(self, door: Door, sockets: list[socket.socket], gate: Gate) -> None:
        opened = door is Door.LOOPBACK and self._settings.extensions_on_loopback
        pipeline = Pipeline(api=self._api, door=door, gate=gate, opened=opened)
        server = web.Server(pipeline, handler_cancellation=True)
        guard = Guard(server, limits=self._limits, on_dropped=self._counter(door))
        listeners = [Listener(sock, guard) for sock in sockets]
        self._open[door] = _Open(server=server, guard=guard, listeners=listeners)

    def _counter(self, door: Door) -> Callable[[str], None]:
        return lambda reason: self._api.meter.on_dropped(door.value, reason)


def _exists(path: Path) -> bool:
    return os.path.lexists(path)
