"""Those whom the control plane speaks to."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from compute_common.errors import SettingsError
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
    """Make those that the settings ask for; nobody is spoken to yet."""
    if settings.storage_controller is not None:
        raise SettingsError("--storage-controller cannot be used yet")
    return Adapters()
