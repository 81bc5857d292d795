"""Writes to the history what an operator may ask about later."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Any, Final

from control_plane.decisions.model import HistoryEvent
from control_plane.fleet.mirror import Mirror
from control_plane.ports import Write

EVENTS: Final = "events"
"""The scope (see `Mirror.change`) of events about no tenant; no tenant id is equal to it."""
RECENT: Final = 200
"""The newest events, among which an equal one is looked for."""


class Events:
    """Writes events that are not committed together with another change."""

    def __init__(self, mirror: Mirror) -> None:
        self._mirror = mirror

    async def record(self, kind: str, text: str, **about: Any) -> None:
        """Write an event; *about*: other fields of `HistoryEvent`. Raises StoreError."""
        event = self._mirror.event
        await self._mirror.change(lambda: [event(kind, text, **about)], scope=EVENTS)

    async def record_news(self, kind: str, text: str, *, tenant_id: str) -> None:
        """Write an event of a tenant, unless its newest one says the same. Raises StoreError."""

        def decide() -> list[Write]:
            if _newest_of(tenant_id, self._mirror.history) == text:
                return []
            return [self._mirror.event(kind, text, tenant_id=tenant_id)]

        await self._mirror.change(decide, scope=tenant_id)


def _newest_of(tenant_id: str, history: Sequence[HistoryEvent]) -> str:
    """Return the newest text about a tenant, '' where no recent event is about it."""
    newest = islice(reversed(history), RECENT)
    return next((event.text for event in newest if event.tenant_id == tenant_id), "")
