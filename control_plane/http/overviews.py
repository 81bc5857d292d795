"""Looks at the registry for admin API, page and metrics."""

from __future__ import annotations

from typing import Final

from control_plane.decisions.overview import Overview
from control_plane.decisions.view_state import FleetState, Moment
from control_plane.fleet.registry import Registry
from control_plane.ports import Clock

RECENT_S: Final = 1.0
"""Page and metrics may be that old: with 10,000 computes a look costs tens of milliseconds."""


class Overviews:
    """Makes overviews, and keeps the last one for those who ask often."""

    def __init__(self, *, registry: Registry, clock: Clock) -> None:
        self._registry = registry
        self._clock = clock
        self._last: Overview | None = None

    def fresh(self) -> Overview:
        """Return the state of now; copied, since `recent` hands it out later."""
        registry = self._registry
        state = FleetState(
            computes=dict(registry.computes),
            tenants=dict(registry.tenants),
            nodes=registry.nodes,
            heard=dict(registry.presence.heard),
            recent=registry.presence.recent,
            incomplete=registry.incomplete,
            history=registry.history,
            verdicts=registry.verdicts,
            pending_hooks=registry.pending_hooks.values(),
            started_at=registry.started_at,
            store_failure=registry.store_failure,
        )
        moment = Moment(monotonic=self._clock.monotonic(), wall=self._clock.wall())
        self._last = Overview(state, moment)
        return self._last

    def recent(self) -> Overview:
        """Return a state that is at most `RECENT_S` old."""
        last = self._last
        if last is None or self._clock.monotonic() - last.now.monotonic > RECENT_S:
            return self.fresh()
        return last
