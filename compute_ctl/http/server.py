"""The HTTP server of a node: its three listeners."""

from __future__ import annotations

from pathlib import Path

from aiohttp import web

from compute_common.http import api as http
from compute_common.http import server
from compute_common.http.auth import Authenticator, authenticate_loopback, authenticate_socket
from compute_common.http.limits import ConnectionLimits
from compute_common.http.listener import ListenerSpec
from compute_common.http.sockets import TcpAddress, UnixAddress
from compute_ctl.http.api import Api, Listener, Route
from compute_ctl.http.routes import router
from compute_ctl.settings import SOCKET_NAME, Settings


class HttpServer(server.HttpServer[Api]):
    """The HTTP API of one node."""

    def __init__(
        self,
        *,
        api: Api,
        settings: Settings,
        authenticate_external: Authenticator,
        limits: ConnectionLimits,
    ) -> None:
        self.socket_path: Path = settings.state_path / SOCKET_NAME
        self._wanted_port = settings.internal_http_port
        super().__init__(
            program="compute_ctl",
            api=api,
            router=router(opened=settings.extensions_on_loopback),
            listeners=_listeners(settings, self.socket_path, authenticate_external, limits),
            metrics=api.metrics,
            is_quiet=self._is_quiet,
            port_observer=api.node.closed_ports,
        )

    @property
    def internal_port(self) -> int:
        """Port of the loopback listener, as bound after `start`."""
        return self.ports.get(Listener.LOOPBACK, self._wanted_port)

    def _is_quiet(self, request: web.BaseRequest, route: http.Route[Api], listener: str) -> bool:
        """Whether a request is a poll, or a repetition by the worker in an outage."""
        named = request.headers.get("X-Refresh-Source") == "worker"
        bare = listener == Listener.LOOPBACK and not request.headers.get("User-Agent")
        by_worker = isinstance(route, Route) and route.by_worker and (named or bare)
        return route.quiet or (by_worker and self.api.node.requests.worker_complains)


def _listeners(
    settings: Settings,
    socket_path: Path,
    authenticate_external: Authenticator,
    limits: ConnectionLimits,
) -> list[ListenerSpec]:
    loopback = ListenerSpec(
        name=Listener.LOOPBACK.value,
        address=TcpAddress(
            host="localhost", port=settings.internal_http_port, option="--internal-http-port"
        ),
        authenticate=authenticate_loopback,
        limits=limits,
        retry=True,
    )
    local = ListenerSpec(
        name=Listener.SOCKET.value,
        address=UnixAddress(path=socket_path, group=settings.socket_group),
        authenticate=authenticate_socket,
        limits=limits,
        log_all=True,
    )
    external = ListenerSpec(
        name=Listener.EXTERNAL.value,
        address=TcpAddress(port=settings.external_http_port, option="--external-http-port"),
        authenticate=authenticate_external,
        limits=limits,
        retry=True,
    )
    return [loopback, local, *([external] if settings.external_http_port else [])]
