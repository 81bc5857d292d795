"""The listeners that the settings ask for."""

from __future__ import annotations

import ssl

from compute_common.http.auth import authenticate_socket
from compute_common.http.limits import ConnectionLimits
from compute_common.http.listener import ListenerSpec
from compute_common.http.sockets import TcpAddress, UnixAddress
from control_plane.fleet.registry import Registry
from control_plane.http.api import Listener
from control_plane.http.tokens import AdminTokens, PublicTokens, anybody
from control_plane.settings import ListenAddress, Settings


def listeners(
    settings: Settings, *, registry: Registry, connections: int, tls: ssl.SSLContext | None
) -> list[ListenerSpec]:
    """Return all listeners; *connections* (at most) and *tls* are those of the public port."""
    found = [
        _public(settings, registry=registry, connections=connections, tls=tls),
        ListenerSpec(
            name=Listener.SOCKET,
            address=UnixAddress(path=settings.admin_socket_path),
            authenticate=authenticate_socket,
            log_all=True,
        ),
    ]
    if settings.admin_listen is not None:
        found.append(
            ListenerSpec(
                name=Listener.ADMIN,
                address=_tcp(settings.admin_listen, "--admin-listen"),
                authenticate=AdminTokens(settings.admin_token),
            )
        )
    if settings.page_listen is not None:
        found.append(
            ListenerSpec(
                name=Listener.PAGE,
                address=_tcp(settings.page_listen, "--page-listen"),
                authenticate=anybody,
            )
        )
    return found


def _public(
    settings: Settings, *, registry: Registry, connections: int, tls: ssl.SSLContext | None
) -> ListenerSpec:
    return ListenerSpec(
        name=Listener.PUBLIC,
        address=_tcp(settings.listen, "--listen"),
        authenticate=PublicTokens(
            registry=registry,
            hook=settings.hook_token,
            compute=settings.compute_token,
            loopback=settings.listen.is_loopback,
        ),
        limits=ConnectionLimits(connections=connections),
        tls=tls,
    )


def _tcp(address: ListenAddress, option: str) -> TcpAddress:
    return TcpAddress(host=address.host, port=address.port, option=option)
