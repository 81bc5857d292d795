"""What admin API, command line and page show. Pure; `overview` makes these from the state.

No view holds a secret: texts that come from outside are redacted. Times are UTC.
"""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct, field

from control_plane.decisions.fleet import Condition
from control_plane.decisions.model import HistoryEvent, ReportedDocument, Verdict


class ComputeRow(Struct, frozen=True, kw_only=True):
    """A compute in a list."""

    id: str
    condition: Condition
    since: datetime | None = None
    """When the condition began, as far as it is known."""
    why: str = ""
    """What is wrong; empty where nothing is."""
    tenant_id: str | None = None
    published: int = 0
    """`spec.generation` of what is published; 0: nothing is."""
    applied: int | None = None
    """`spec.generation` that the compute runs with, as far as it has said so."""
    heard_at: datetime | None = None
    """When it last asked, reported or was reached; None: not since the control plane started."""


class NodeRow(Struct, frozen=True, kw_only=True):
    """A pageserver, or another server that a compute suspects."""

    id: int | None = None
    """None: a server that the storage controller does not list."""
    availability: str = ""
    scheduling: str = ""
    availability_zone_id: str | None = None
    endpoint: str = ""
    """``host:port`` of its libpq port."""
    users: int = 0
    """Computes alive whose tenant it serves."""
    suspects: int = 0
    """Computes alive that suspect it."""
    suspected_by: tuple[str, ...] = ()
    """The names of those, not all if they are many."""
    troubles: tuple[str, ...] = ()
    """What they meet: `dead`, `silent`, `wrong`, …"""
    suspected_since: datetime | None = None
    verdict: Verdict | None = None
    """The newest one about it."""

    @property
    def is_bad(self) -> bool:
        """Whether somebody has to look at it."""
        return self.suspects > 0 or (self.id is not None and self.availability != "Active")


class NodesView(Struct, frozen=True, kw_only=True):
    """All nodes, those with trouble first."""

    at: datetime
    nodes: tuple[NodeRow, ...]


class PendingHookRow(Struct, frozen=True, kw_only=True):
    """A hook of the storage controller that waits for its answer."""

    kind: str
    tenant_id: str
    since: datetime
    waits_for: tuple[str, ...] = ()
    """Computes alive that do not run with it yet; not all if they are many."""
    others: int = 0
    """So many more."""


class HooksView(Struct, frozen=True, kw_only=True):
    """The hooks that wait, oldest first."""

    total: int = 0
    oldest_since: datetime | None = None
    first: tuple[PendingHookRow, ...] = ()


class ServiceView(Struct, frozen=True, kw_only=True):
    """The control plane itself, as it was started."""

    version: str = ""
    store: str = ""
    """Where its state is, without credentials."""
    storage_controller: str | None = None
    evidence: str = "observe"
    """`observe` or `act`."""
    quorum: int = 2


class StatusView(Struct, frozen=True, kw_only=True):
    """How the control plane and its fleet are, in numbers."""

    at: datetime
    service: ServiceView
    started_at: datetime
    store_failure: str = ""
    """Why the store did not answer last; empty where it did."""
    computes: dict[Condition, int]
    """How many computes are in each condition."""
    behind: int = 0
    """Computes alive that do not run with what is published, or for which nothing can be."""
    oldest_behind_since: datetime | None = None
    nodes: int = 0
    nodes_bad: int = 0
    """Not Active, or suspected."""
    held_requests: int = 0
    pending_hooks: int = 0
    oldest_hook_since: datetime | None = None

    @property
    def total(self) -> int:
        """The number of computes."""
        return sum(self.computes.values())


class ComputesView(Struct, frozen=True, kw_only=True):
    """Some computes, those behind first, then by name."""

    at: datetime
    query: str = ""
    """A part of the name, or a tenant."""
    condition: Condition | None = None
    total: int
    """How many match."""
    computes: tuple[ComputeRow, ...]
    """The first of them."""


class FleetView(Struct, frozen=True, kw_only=True):
    """One screen for the whole fleet."""

    status: StatusView
    laggards: ComputesView
    """Behind, oldest first."""
    nodes: NodesView
    """Servers with trouble first."""
    hooks: HooksView
    verdicts: tuple[Verdict, ...]
    """Newest first."""
    history: tuple[HistoryEvent, ...]
    """Newest first."""
    computes: ComputesView
    """What was searched for, or the beginning of all."""


class SuspicionRow(Struct, frozen=True, kw_only=True):
    """A server that a compute suspects."""

    source: str
    trouble: str = field(name="class")
    shard: int | None = None
    endpoint: str | None = None
    node_id: int | None = None
    """Which node has that endpoint now."""
    sqlstate: str = ""
    text: str = ""
    since: datetime | None = None
    count: int = 0


class ShardRow(Struct, frozen=True, kw_only=True):
    """Where one shard of a compute's tenant is served."""

    shard: int
    node_id: int
    endpoint: str | None = None
    """None: the node is not in the list."""
    availability: str | None = None


class ReportView(Struct, frozen=True, kw_only=True):
    """What a compute said of itself last."""

    at: datetime | None
    daemon: str
    version: str
    status: str
    desired: ReportedDocument | None
    applied: ReportedDocument | None
    outcome: str | None
    reason: str
    pending_restart: tuple[str, ...]
    suspicions: tuple[SuspicionRow, ...]


class ComputeView(Struct, frozen=True, kw_only=True):
    """Everything that is known of one compute."""

    at: datetime
    row: ComputeRow
    timeline_id: str | None = None
    published_at: datetime | None = None
    content_sha256: str = ""
    push_url: str | None = None
    pushed_generation: int | None = None
    push_error: str = ""
    held_requests: int = 0
    report: ReportView | None = None
    placement_source: str | None = None
    shards: tuple[ShardRow, ...] = ()
    stripe_size: int | None = None
    timeline: tuple[HistoryEvent, ...] = ()
    """What happened to the compute and its tenant, newest first."""


class VerdictsView(Struct, frozen=True, kw_only=True):
    """Verdicts, newest first."""

    at: datetime
    verdicts: tuple[Verdict, ...]


class HistoryView(Struct, frozen=True, kw_only=True):
    """Events, newest first."""

    at: datetime
    total: int
    """How many match."""
    events: tuple[HistoryEvent, ...]
