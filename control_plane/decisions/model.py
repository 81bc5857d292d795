"""The values that the control plane works with. Pure.

`ComputeRecord`, `TenantRecord`, `NodeList` and `HistoryEvent` are stored as JSON; `Report` is the
body that a compute sends (see `compute_ctl.decisions.report`, which writes it).
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Final

from msgspec import Meta, Raw, Struct, field

NodeId = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Generation = Annotated[int, Meta(ge=0, le=2**63 - 1)]

ALIVE_S: Final = 60.0
"""A compute that has reported or asked within this time is alive."""


class StorageNode(Struct, frozen=True, kw_only=True):
    """A pageserver, as the storage controller's node list has it."""

    id: NodeId
    availability: str = "Active"
    """`Active`, `WarmingUp` or `Offline`."""
    scheduling: str = "Active"
    """`Active`, `Filling`, `Pause`, `PauseForRestart`, `Draining` or `Deleting`."""
    availability_zone_id: str | None = None
    listen_pg_addr: str
    listen_pg_port: int
    listen_http_addr: str
    listen_http_port: int

    @property
    def pg_endpoint(self) -> str:
        """``host:port`` of its libpq port, as a report names it."""
        return f"{self.listen_pg_addr}:{self.listen_pg_port}"


class StorageSafekeeper(Struct, frozen=True, kw_only=True):
    """A safekeeper, as the storage controller's list has it (``GET /control/v1/safekeeper``)."""

    id: NodeId
    host: str
    port: int


class NodeList(Struct, frozen=True, kw_only=True):
    """The storage controller's nodes when it was last asked."""

    nodes: tuple[StorageNode, ...] = ()
    safekeepers: tuple[StorageSafekeeper, ...] = ()


class Placement(Struct, frozen=True, kw_only=True):
    """Which node serves each shard of a tenant."""

    nodes: tuple[NodeId, ...]
    """By shard number; one for an unsharded tenant."""
    shard_count: Annotated[int, Meta(ge=0, le=255)] = 0
    """0: unsharded."""
    stripe_size: Annotated[int, Meta(ge=1)] | None = None
    """In pages; None: unsharded."""


class PlacementSource(StrEnum):
    """Who said where a tenant is."""

    LOCATE = "locate"
    """The storage controller, when asked: authoritative."""
    NOTIFICATION = "notification"
    """A hook; it may be late, and is taken only where the controller cannot be asked."""


class Safekeeper(Struct, frozen=True, kw_only=True):
    """One member of a timeline's safekeepers."""

    id: NodeId
    hostname: str | None = None
    """For people only, says Neon's `compute_hook.rs`, and may be missing: the id counts."""


class SafekeeperSet(Struct, frozen=True, kw_only=True):
    """The safekeepers of one timeline; a higher generation is newer."""

    generation: Generation
    safekeepers: tuple[Safekeeper, ...]


class TenantRecord(Struct, frozen=True, kw_only=True):
    """Where the storage of a tenant is (key ``tenants/TENANT``)."""

    tenant_id: str
    placement: Placement | None = None
    placement_source: PlacementSource | None = None
    safekeepers: dict[str, SafekeeperSet] = {}
    """By timeline."""


class ComputeRecord(Struct, frozen=True, kw_only=True):
    """A compute and its document (key ``computes/ID``)."""

    id: str
    document: Raw
    """The operator's text: an object with `spec` and, maybe, `compute_ctl_config`."""
    generation: Generation = 0
    """`spec.generation` of what is published; 0: nothing was yet."""
    body: Raw = Raw(b"null")
    """What is published: the whole answer, with `status`, `spec`, `compute_ctl_config`."""
    content_sha256: str = ""
    """Of what is published, as `compute_common.document.spec` counts it: without generation."""
    published_at: datetime | None = None
    push_url: str | None = None
    """Base URL of a daemon that must be told by `POST /configure` (Neon's own); None: it polls."""
    token_sha256: str | None = None
    """Of the token that opens this compute's document only; None: the shared one does."""
    tenant_id: str | None = None
    timeline_id: str | None = None
    """Both from the document, so that hooks find the compute."""

    @property
    def published(self) -> Raw | None:
        """What is published, None where nothing was yet."""
        return self.body if self.generation else None


class ReportedDocument(Struct, frozen=True, kw_only=True):
    """A document that a compute names in a report."""

    generation: Generation | None = None
    """Its `spec.generation`."""
    hash: str = ""
    proof: str | None = None
    """`full`, `upstream` (the servers, not a new session) or `none`."""


class Suspicion(Struct, frozen=True, kw_only=True):
    """A server that a compute suspects."""

    source: str = ""
    shard: Annotated[int, Meta(ge=0, le=255)] | None = None
    endpoint: str | None = None
    trouble: str = field(default="", name="class")
    """`dead`, `silent`, `wrong` (it turned the compute away), or another."""
    sqlstate: str = ""
    text: str = ""
    since: Annotated[datetime, Meta(tz=True)] | None = None
    count: Annotated[int, Meta(ge=0, le=2**63 - 1)] = 0


class Report(Struct, frozen=True, kw_only=True):
    """What a compute says of itself."""

    daemon: str = ""
    version: str = ""
    status: str = ""
    desired: ReportedDocument | None = None
    applied: ReportedDocument | None = None
    servers: ReportedDocument | None = None
    """The document that it has refused, but whose servers are in force."""
    outcome: str | None = None
    reason: str = ""
    pending_restart: tuple[str, ...] = ()
    suspicions: Annotated[tuple[Suspicion, ...], Meta(max_length=1024)] = ()


class Heard(Struct, frozen=True, kw_only=True):
    """When a compute was last heard of, and what it said. In memory only."""

    asked_at: float | None = None
    """Monotonic seconds of the last request for its document; a held request counts as now."""
    holds: int = 0
    """Requests that it has open and we hold."""
    reported_at: float | None = None
    """Monotonic seconds."""
    report: Report | None = None
    pushed_generation: int = 0
    """The newest generation that its daemon took by `POST /configure`."""
    push_error: str = ""
    reachable_at: float | None = None
    """Monotonic seconds of the last successful connection to its registered address."""


class PendingHook(Struct, frozen=True, kw_only=True):
    """A hook of the storage controller whose answer is held. In memory only."""

    kind: str
    """`notify-attach` or `notify-safekeepers`."""
    tenant_id: str
    since: float
    """Monotonic seconds."""
    waits_for: tuple[str, ...] = ()
    """Names of the computes alive that do not run with it yet."""


class VerdictState(StrEnum):
    """What became of a verdict."""

    OBSERVED = "observed"
    """`observe`: shown, nothing done."""
    REFUSED = "refused"
    """`act`, but a guard rail forbids it."""
    ACTED = "acted"
    """The storage controller was told that the node is offline."""
    FAILED = "failed"
    """The storage controller could not be told."""
    FALSE_ALARM = "false alarm"
    """The node was Active again at the next look."""


class Verdict(Struct, frozen=True, kw_only=True):
    """The decision that a node is down, with its evidence."""

    node_id: int
    at: datetime
    suspected_by: tuple[str, ...]
    """Compute ids."""
    users: int
    """Computes alive that use the node."""
    probes: tuple[str, ...]
    """What each failed probe met."""
    state: VerdictState
    reason: str = ""
    """Why it was refused or failed."""


class HistoryEvent(Struct, frozen=True, kw_only=True):
    """Something an operator may ask about later (key ``history/…``)."""

    at: datetime
    kind: str
    """`document`, `deleted`, `hook`, `moved`, `safekeepers`, `verdict`, `false alarm`, …"""
    text: str
    compute_id: str | None = None
    tenant_id: str | None = None
    node_id: int | None = None
    verdict: Verdict | None = None
