"""The HTTP server: opens the listeners, and closes in order."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Generic

from aiohttp import web

from compute_common.errors import SettingsError
from compute_common.http.acceptor import Acceptor
from compute_common.http.api import A, RequestMetrics
from compute_common.http.limits import ConnectionLimiter
from compute_common.http.listener import ListenerSpec, PortObserver
from compute_common.http.pipeline import Pipeline
from compute_common.http.request_log import IsQuiet, is_quiet
from compute_common.http.router import Router
from compute_common.http.sockets import (
    PortTakenError,
    TcpAddress,
    UnixAddress,
    shown_address,
    tcp_socket,
)

PORT_RETRY_S: Final = 1.0


@dataclass(kw_only=True, slots=True)
class _Open:
    """The parts of an open listener."""

    server: web.Server
    limiter: ConnectionLimiter
    acceptors: list[Acceptor]


class HttpServer(Generic[A]):
    """The HTTP API of one program."""

    def __init__(
        self,
        *,
        program: str,
        api: A,
        router: Router[A],
        listeners: Iterable[ListenerSpec],
        metrics: RequestMetrics,
        is_quiet: IsQuiet = is_quiet,
        port_observer: PortObserver | None = None,
    ) -> None:
        """Open nothing yet.

        *program* is named in messages, loggers and the Server header. *api* is what the functions
        of the routes get as `Call.api`. *is_quiet* says which requests are logged at DEBUG.
        """
        self.api = api
        self.ports: dict[str, int] = {}
        """The port of each open TCP listener, by name."""
        self.closed_ports: dict[str, str] = {}
        """Why a port is not open yet, by address."""
        self._program = program
        self._router = router
        self._metrics = metrics
        self._is_quiet = is_quiet
        self._port_observer = port_observer
        self._specs = tuple(listeners)
        self._logger = logging.getLogger(f"{program}.http.server")
        self._open: dict[str, _Open] = {}
        self._bound: list[UnixAddress] = []
        """Unix sockets that are ours, to be removed in the end."""
        self._closed: list[tuple[ListenerSpec, TcpAddress, str]] = []
        """Addresses whose port is not open yet."""

    async def start(self) -> None:
        """Open the unix sockets and the ports that are free; `run` opens the others later.

        Raises:
            SettingsError: a socket cannot be opened, or a port for a permanent reason, or one that
                is taken and not to be tried again. Nothing is open then.
        """
        try:
            for spec in self._specs:
                address = spec.address
                if isinstance(address, UnixAddress):
                    self._serve(spec, address.open(self._program))
                    self._bound.append(address)
                else:
                    self._closed += [(spec, address, host) for host in address.hosts()]
            self._open_ports()
        except SettingsError:
            await self.stop(0.0)
            raise
        for address in self._bound:
            self._logger.info('listening on unix socket "%s"', address.path)

    async def run(self) -> None:
        """Retry the ports that another process has; return when all are open."""
        while self._closed:
            await asyncio.sleep(PORT_RETRY_S)
            try:
                self._open_ports()
            except SettingsError as error:  # it may be available again later
                self._logger.error("%s", error)

    def _open_ports(self) -> None:
        """Open the closed ports that are free, each address by itself; log each other one once."""
        for spec, address, host in list(self._closed):
            port = self.ports.get(spec.name, address.port)
            shown = shown_address(host, port)
            try:
                sock = tcp_socket(
                    host,
                    port,
                    option=address.option,
                    program=self._program,
                    needed=address.host not in ("", "localhost"),
                )
            except PortTakenError as error:
                if not spec.retry:
                    raise
                self._port_closed(shown, error)
                continue
            self._closed.remove((spec, address, host))
            self.closed_ports.pop(shown, None)
            if self._port_observer is not None:
                self._port_observer.port_opened(shown)
            if sock is not None:
                self._serve(spec, sock)
                self.ports[spec.name] = sock.getsockname()[1]
                self._logger.info("listening on %s", shown_address(host, self.ports[spec.name]))

    def _port_closed(self, address: str, error: PortTakenError) -> None:
        if self.closed_ports.get(address) != str(error):
            self._logger.error("%s; trying again each second (%s)", error, error.hint)
        self.closed_ports[address] = str(error)
        if self._port_observer is not None:
            self._port_observer.port_closed(address, str(error))

    async def remake_socket(self) -> bool:
        """Bind each unix socket again whose file was removed; return whether one was.

        Raises:
            SettingsError: it cannot be opened.
        """
        made = False
        for spec in self._specs:
            address, opened = spec.address, self._open.get(spec.name)
            if opened is None or not isinstance(address, UnixAddress):
                continue
            if _exists(address.path):
                continue
            sock = address.open(self._program)
            for acceptor in opened.acceptors:
                acceptor.close()  # unreachable without its file
            opened.acceptors = [self._acceptor(spec, sock, opened.limiter)]
            self._logger.warning('unix socket "%s" was gone, listening on a new one', address.path)
            made = True
        return made

    async def stop(self, deadline_s: float) -> None:
        """Close the listeners; requests in progress get *deadline_s* seconds to finish."""
        for listener in self._open.values():
            for acceptor in listener.acceptors:
                acceptor.close()
            listener.limiter.close()
            listener.server.pre_shutdown()  # idle connections end at once
        bound, self._bound = self._bound, []
        for address in bound:
            with suppress(OSError):
                address.path.unlink()
        # aiohttp waits this long for a handler to end, and again after cancelling it
        await asyncio.gather(
            *(listener.server.shutdown(deadline_s / 2) for listener in self._open.values())
        )
        self._open.clear()

    def _serve(self, spec: ListenerSpec, sock: socket.socket) -> None:
        opened = self._open.get(spec.name) or self._opened(spec)
        opened.acceptors.append(self._acceptor(spec, sock, opened.limiter))

    def _opened(self, spec: ListenerSpec) -> _Open:
        pipeline = Pipeline(
            program=self._program,
            api=self.api,
            listener=spec,
            router=self._router,
            metrics=self._metrics,
            is_quiet=self._is_quiet,
        )
        server = web.Server(pipeline, handler_cancellation=True)
        limiter = ConnectionLimiter(
            server,
            limits=spec.limits,
            on_dropped=lambda reason: self._metrics.on_dropped(spec.name, reason),
            program=self._program,
        )
        opened = self._open[spec.name] = _Open(server=server, limiter=limiter, acceptors=[])
        return opened

    def _acceptor(
        self, spec: ListenerSpec, sock: socket.socket, limiter: ConnectionLimiter
    ) -> Acceptor:
        return Acceptor(sock, limiter, tls=spec.tls, logger=self._logger)


def _exists(path: Path) -> bool:
    return os.path.lexists(path)
