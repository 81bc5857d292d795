"""What was heard of each compute. In memory only: computes repeat what they say."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from msgspec.structs import replace

from control_plane.decisions import fleet
from control_plane.decisions.model import Heard, HistoryEvent, Report
from control_plane.fleet.tenant_index import TenantIndex
from control_plane.fleet.waiters import Waiters
from control_plane.ports import Clock

TIMELINE_KEPT: Final = 20
"""Events that are kept of each compute."""
_NOTHING: Final = Heard()


class Presence:
    """Who asked, who reported what, and who waits to hear of it."""

    def __init__(self, *, clock: Clock, tenants: TenantIndex) -> None:
        self._clock = clock
        self._tenants = tenants
        self._waiters = Waiters()
        self.heard: dict[str, Heard] = {}
        """By compute; not to be written."""
        self._deleted: dict[str, Heard] = {}
        """When computes that were deleted lately were heard of last."""
        self.recent: dict[str, deque[HistoryEvent]] = {}
        """What each compute said lately, oldest first; not to be written."""
        self.on_report: list[Callable[[str], None]] = []
        """Called with the id of each compute that has reported."""

    def of(self, compute_id: str) -> Heard:
        """Return what was heard of a compute."""
        return self.heard.get(compute_id) or self._deleted.get(compute_id, _NOTHING)

    def forget(self, compute_id: str) -> None:
        """Drop a compute that was deleted; that it is alive counts if it is put again."""
        now = self._clock.monotonic()
        kept = {one: it for one, it in self._deleted.items() if fleet.alive(it, now)}
        self._deleted = {
            **kept,
            compute_id: Heard(asked_at=fleet.heard_at(self.of(compute_id), now)),
        }
        self.heard.pop(compute_id, None)
        self.recent.pop(compute_id, None)

    @contextmanager
    def asked(self, compute_id: str) -> Iterator[None]:
        """Count a request for a document; its compute is alive while it is open."""
        self._hold(compute_id, 1)
        try:
            yield
        finally:
            if compute_id in self.heard:  # else it was deleted meanwhile
                self._hold(compute_id, -1)

    def reported(self, compute_id: str, report: Report) -> None:
        """Take what a compute says of itself."""
        old = self.of(compute_id)
        self.heard[compute_id] = replace(old, reported_at=self._clock.monotonic(), report=report)
        for kind, text in fleet.news(old.report, report):
            self._remember(compute_id, kind, text)
        self._wake(compute_id)
        for observer in self.on_report:
            observer(compute_id)

    def pushed(self, compute_id: str, *, generation: int, error: str, reached: bool) -> None:
        """Take what came of `POST /configure`; *generation* is 0 where it was not taken."""
        old = self.of(compute_id)
        self.heard[compute_id] = replace(
            old,
            pushed_generation=max(old.pushed_generation, generation),
            push_error=error,
            reachable_at=self._clock.monotonic() if reached else old.reachable_at,
        )
        if error != old.push_error or generation > old.pushed_generation:
            self._remember(compute_id, "pushed", error or f"took generation {generation}")
        self._wake(compute_id)

    async def tenant_heard(self, tenant_id: str, *, within_s: float) -> None:
        """Wait until a compute of the tenant says something, but no longer than that."""
        await self._waiters.wait(tenant_id, within_s=within_s)

    def wake(self, tenant_id: str) -> None:
        """Let those go on who wait for the tenant."""
        self._waiters.wake(tenant_id)

    def _hold(self, compute_id: str, step: int) -> None:
        old = self.of(compute_id)
        self.heard[compute_id] = replace(
            old, asked_at=self._clock.monotonic(), holds=max(0, old.holds + step)
        )

    def _remember(self, compute_id: str, kind: str, text: str) -> None:
        events = self.recent.setdefault(compute_id, deque(maxlen=TIMELINE_KEPT))
        events.append(
            HistoryEvent(at=self._clock.wall(), kind=kind, text=text, compute_id=compute_id)
        )

    def _wake(self, compute_id: str) -> None:
        if (tenant := self._tenants.tenant_of(compute_id)) is not None:
            self._waiters.wake(tenant)
