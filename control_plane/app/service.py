"""Makes all parts of the control plane. Slow to import: `main` opens the store meanwhile."""

from __future__ import annotations

import ssl
from dataclasses import dataclass

from compute_common.http.server import HttpServer
from control_plane.app.adapters import Adapters, make_adapters
from control_plane.app.assembly import PROGRAM, Parts, build
from control_plane.app.listeners import listeners
from control_plane.app.open_files import Room
from control_plane.http.api import Api
from control_plane.ports import Store
from control_plane.settings import Settings


@dataclass(frozen=True, kw_only=True)
class Service:
    """The objects that `main` starts and stops."""

    adapters: Adapters
    parts: Parts
    server: HttpServer[Api]

    async def stop(self, deadline_s: float) -> None:
        """Answer the held requests, and close the listeners; see `HttpServer.stop`."""
        self.parts.api.polls.close()
        self.parts.api.hooks.close()
        await self.server.stop(deadline_s)


def make_service(
    settings: Settings, store: Store, *, room: Room, tls: ssl.SSLContext | None
) -> Service:
    """Make all parts; none of them runs yet.

    Raises:
        SettingsError: an address or a token cannot be used.
    """
    adapters = make_adapters(settings)
    parts = build(settings, store, adapters, held=room.held)
    server = HttpServer(
        program=PROGRAM,
        api=parts.api,
        router=parts.router,
        listeners=listeners(
            settings, registry=parts.registry, connections=room.connections, tls=tls
        ),
        metrics=parts.api.metrics,
    )
    return Service(adapters=adapters, parts=parts, server=server)
