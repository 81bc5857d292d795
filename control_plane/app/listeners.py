"""The listeners that the settings ask for."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Final

from compute_common.errors import SettingsError
from compute_common.http.auth import authenticate_socket
from compute_common.http.limits import ConnectionLimits
from compute_common.http.listener import ListenerSpec
from compute_common.http.sockets import TcpAddress, UnixAddress
from control_plane.fleet.registry import Registry
from control_plane.http.api import Listener
from control_plane.http.tokens import AdminTokens, PublicTokens, anybody
from control_plane.settings import ListenAddress, Settings

SPARE_CONNECTIONS: Final = 1000
"""Of the public port, beside those that are held."""
LEAST_CONNECTIONS: Final = 64
FILES_KEPT: Final = 400
"""Descriptors for everything else: the store, other listeners, calls to others."""


def wanted_files(settings: Settings) -> int:
    """Return how many files may have to be open at the same time."""
    return settings.max_held + SPARE_CONNECTIONS + FILES_KEPT


def listeners(
    settings: Settings, *, registry: Registry, files: int, tls: ssl.SSLContext | None
) -> list[ListenerSpec]:
    """Return them; *files*: how many may be open; *tls*: of the public port."""
    found = [
        _public(settings, registry=registry, files=files, tls=tls),
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
    settings: Settings, *, registry: Registry, files: int, tls: ssl.SSLContext | None
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
        limits=ConnectionLimits(connections=max(files - FILES_KEPT, LEAST_CONNECTIONS)),
        tls=tls,
    )


def tls_context(settings: Settings) -> ssl.SSLContext | None:
    """Return the TLS of the public port, None where it has none. Raises SettingsError."""
    if settings.tls_cert is None or settings.tls_key is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    load_certificate(context, settings.tls_cert, settings.tls_key)
    return context


def load_certificate(context: ssl.SSLContext, cert: Path, key: Path) -> None:
    """Load them into *context*, for connections from now on. Raises SettingsError."""
    for path in (cert, key):
        try:
            path.open("rb").close()
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise SettingsError(f'could not read "{path}": {reason}') from error
    try:
        context.load_cert_chain(cert, key, password=lambda: "")
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise SettingsError(
            f'"{cert}" and "{key}" are no PEM certificate and its key, without a passphrase'
        ) from error


def _tcp(address: ListenAddress, option: str) -> TcpAddress:
    return TcpAddress(host=address.host, port=address.port, option=option)
