"""Those whom the control plane speaks to."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from control_plane.app.pushing import LatePusher
from control_plane.controller.client import ControllerClient
from control_plane.controller.probe import PageserverProber
from control_plane.ports import Prober, Pusher, StorageController
from control_plane.settings import Settings


@dataclass(frozen=True, kw_only=True)
class Adapters:
    """Who is spoken to; None: nobody is configured."""

    controller: StorageController | None = None
    prober: Prober | None = None
    pusher: Pusher | None = None
    keys: Sequence[Mapping[str, Any]] = ()
    """JSON Web Keys by which daemons know the pusher."""
    closing: Sequence[Callable[[], Awaitable[None]]] = ()

    async def close(self) -> None:
        """Close the connections."""
        for close in self.closing:
            await close()


def make_adapters(settings: Settings) -> Adapters:
    """Make those that the settings ask for; nobody is spoken to yet.

    Raises:
        SettingsError: an address or a token cannot be used.
    """
    pusher = LatePusher(settings.jwt_key_path)
    if settings.storage_controller is None:
        return Adapters(pusher=pusher, keys=pusher.keys, closing=(pusher.close,))
    controller = ControllerClient(
        settings.storage_controller,
        token=settings.storage_controller_token,
        ca=settings.storage_controller_ca,
    )
    prober = PageserverProber()
    return Adapters(
        controller=controller,
        prober=prober,
        pusher=pusher,
        keys=pusher.keys,
        closing=(controller.close, prober.close, pusher.close),
    )
