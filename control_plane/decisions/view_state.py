"""What the views are made from: the state of the registry, and the time. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from control_plane.decisions.model import (
    ComputeRecord,
    Heard,
    HistoryEvent,
    NodeList,
    PendingHook,
    TenantRecord,
    Verdict,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Moment:
    """Now, on both clocks."""

    monotonic: float
    wall: datetime

    def at(self, monotonic: float) -> datetime:
        """Return the wall clock's time of a *monotonic* one."""
        return self.wall - timedelta(seconds=self.monotonic - monotonic)


@dataclass(frozen=True, kw_only=True, slots=True)
class FleetState:
    """What the registry holds; only read."""

    computes: Mapping[str, ComputeRecord] = field(default_factory=dict)
    tenants: Mapping[str, TenantRecord] = field(default_factory=dict)
    nodes: NodeList = field(default_factory=NodeList)
    heard: Mapping[str, Heard] = field(default_factory=dict)
    recent: Mapping[str, Sequence[HistoryEvent]] = field(default_factory=dict)
    """What each compute said lately, oldest first."""
    history: Sequence[HistoryEvent] = ()
    """Oldest first."""
    verdicts: Sequence[Verdict] = ()
    """Oldest first."""
    incomplete: Callable[[str], str] = lambda _: ""
    """Returns why what is published to a compute is not what the storage says; '' if it is."""
    pending_hooks: Collection[PendingHook] = ()
    started_at: float = 0.0
    """Monotonic seconds."""
    store_failure: str = ""
    """Why the store did not answer last; empty where it did."""
