"""The status as it is shown: built by the node, encoded for the API, decoded by the commands. Pure.

No field has the marker: whoever knows it could forge an acknowledgement. Texts from outside are
redacted. The first six keys are those of Neon's compute_ctl, in its order.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import TypeVar

from msgspec import UNSET, Struct, UnsetType, structs

from compute_common.document.versions import Version
from compute_common.redact import redact
from compute_ctl.decisions.candidates import ShardCandidates
from compute_ctl.decisions.lsn_lease import LeaseStatus
from compute_ctl.decisions.model import (
    GOOD_OUTCOMES,
    Attempt,
    CatalogRun,
    Desired,
    Outcome,
    ReportStatus,
    Suspicion,
    Ticket,
)
from compute_ctl.decisions.persistent_state import GenerationRef, Quarantined
from compute_ctl.decisions.promotion import PromotionView
from compute_ctl.decisions.proof import Complaint, Proof
from compute_ctl.decisions.sidecar import SidecarState
from compute_ctl.decisions.sql_report import PendingRestart
from compute_ctl.decisions.transitions import Status

Run = TypeVar("Run", Attempt, CatalogRun)


class Shown(Struct, frozen=True, kw_only=True):
    """A part of the status, all of whose fields are in the JSON.

    Fields with a default were added later: an earlier daemon, asked by newer commands, lacks them.
    """


class DesiredView(Shown, frozen=True, kw_only=True):
    """The newest document accepted, whether or not it could be applied."""

    generation: int | None
    """Generation of the configuration file rendered from it; null before that."""
    sha256: str
    version: str | None
    at: datetime
    source: str

    @classmethod
    def of(cls, desired: Desired) -> DesiredView:
        """Return what is shown of *desired*."""
        return cls(
            generation=desired.generation,
            sha256=desired.content_sha256,
            version=_text(desired.version),
            at=desired.at,
            source=desired.source,
        )


class GenerationView(Shown, frozen=True, kw_only=True):
    """A generation of the configuration file."""

    generation: int
    sha256: str
    version: str | None
    at: datetime

    @classmethod
    def of(cls, ref: GenerationRef | None) -> GenerationView | None:
        """Return what is shown of *ref*."""
        if ref is None:
            return None
        return cls(
            generation=ref.generation,
            sha256=ref.content_sha256,
            version=_text(ref.version),
            at=ref.at,
        )


class QuarantinedView(Shown, frozen=True, kw_only=True):
    """A document that will not be tried again as it is."""

    sha256: str
    reason: str
    at: datetime
    version: str | None
    operation_uuid: str | None

    @classmethod
    def of(cls, entry: Quarantined) -> QuarantinedView:
        """Return what is shown of *entry*."""
        return cls(
            sha256=entry.content_sha256,
            reason=redact(entry.reason),
            at=entry.at,
            version=_text(entry.version),
            operation_uuid=entry.operation_uuid,
        )


class ConfigView(Shown, frozen=True, kw_only=True):
    """What is wanted, what runs, and what can be fallen back to."""

    in_sync: bool
    """`desired` is applied, and a new session runs with it."""
    proof: Proof = Proof.NONE
    """How much is proven of the generation in the file: `full`: a new session runs with it;
    `upstream`: Postgres has acknowledged its servers, no new session has answered; `none`."""
    not_in_force: str | None = None
    """Why what is applied is not, or not for certain, what a new session runs with."""
    not_kept: str | None = None
    """Why this is not on disk: a daemon that starts after a crash may know less."""
    desired: DesiredView | None
    applied: GenerationView | None
    started: GenerationView | None = None
    """The newest generation that a server came up with."""
    proven_in_full: GenerationView | None = None
    """The newest generation proven in full: while the server runs, its settings replace refused
    ones."""
    last_known_good: GenerationView | None
    """The newest generation that is both proven in full and started."""
    quarantined: tuple[QuarantinedView, ...]
    candidates: tuple[ShardCandidates, ...] = ()
    """One entry for each shard for which the document names several pageservers."""
    warnings: tuple[str, ...] = ()  # of the newest document: misspelt names, plain secrets
    document_file: str | None = None  # the source, where it is one (`-c`)


class RefreshView(Shown, frozen=True, kw_only=True):
    """Whether somebody suspects that the configuration is out of date, and what is done."""

    pending: bool
    suspected_since: datetime | None
    suspicion: Suspicion | None
    last_attempt: Attempt | None
    next_attempt_at: datetime | None
    requests_total: int


class DriftView(Shown, frozen=True, kw_only=True):
    """A managed setting that something else overrides."""

    name: str | None
    reason: str
    file: str | None
    line: int | None

    @classmethod
    def of(cls, one: Complaint) -> DriftView:
        """Return what is shown of a setting that *one* says is overridden."""
        return cls(name=one.name, reason=redact(one.reason), file=one.file, line=one.line)


class PostgresView(Shown, frozen=True, kw_only=True):
    """The server as last seen."""

    pid: int | None
    version: str | None = None  # the major one, of the data directory
    ready: bool
    since: datetime | None = None  # when `ready` last changed; null: not since the daemon started
    silent_since: datetime | None = None
    """It is ready, but has not answered over SQL since then; null while it does."""
    silent_because: str | None = None
    login_ms: float | None = None
    """How long the last login took; null where there was none."""
    library_loaded: bool | None = None
    """Whether it has loaded `neon_refresh`, so that it asks by itself; null: unknown yet."""
    pending_restart: tuple[PendingRestart, ...]
    drift: tuple[DriftView, ...]
    catalog_error: str | None = None
    """Why roles, databases and extensions are not as wanted."""
    last_catalog: CatalogRun | None = None
    drift_since: datetime | None = None
    """When `drift` was first seen; null while there is none."""
    lease: LeaseStatus | None = None
    """The lease of the LSN that a static compute is pinned to; null for any other compute."""


class ClusterPhase(StrEnum):
    """How far the cluster of an empty data directory is."""

    WAITING = "waiting"  # a try has failed; the next comes soon
    SYNC_SAFEKEEPERS = "sync_safekeepers"
    CONNECT = "connect"
    TRANSFER = "transfer"
    INSTALL = "install"
    COMPLETE = "complete"
    FAILED = "failed"


class ClusterView(Shown, frozen=True, kw_only=True):
    """How this daemon has made the cluster, or is about to."""

    method: str
    """``initdb`` or ``basebackup``."""
    phase: ClusterPhase
    tries: int = 0
    pageserver: str | None = None  # of the last try, ``host:port``
    lsn: str | None = None  # what was asked for; null for the newest
    bytes: int = 0  # over the wire
    sync_sk_check_ms: float = 0.0
    sync_safekeepers_ms: float = 0.0
    pageserver_connect_micros: int = 0
    basebackup_ms: float = 0.0
    install_ms: float = 0.0  # until it was on disk and in its place
    error: str | None = None  # of the last try
    at: datetime | None = None  # when it was complete

    @property
    def summary(self) -> str:
        """One line for people."""
        text = f"{self.method}, {self.phase.replace('_', ' ')}"
        if self.pageserver:
            text += f", from {self.pageserver}"
        if self.bytes:
            text += f", {self.bytes / 1e6:.1f} MB in {self.basebackup_ms / 1000:.1f} s"
        return text + (f": {self.error}" if self.error else "")


class StatusBody(Shown, frozen=True, kw_only=True):
    """The answer to GET /status."""

    start_time: datetime
    tenant: str | None
    timeline: str | None
    status: Status
    last_active: str | None
    error: str | None
    config: ConfigView
    refresh: RefreshView
    postgres: PostgresView
    status_since: datetime | None = None
    """When `status` last changed; a look that finds nothing does not count."""
    error_since: datetime | None = None
    """When `error` became what it is; null while there is none."""
    closed_ports: tuple[str, ...] = ()
    """Why ports of the API are not open; the daemon goes on trying."""
    report: ReportStatus = ReportStatus()
    cluster: ClusterView | None = None  # null where the daemon found one
    promotion: PromotionView | None = None  # the last one
    sidecars: tuple[SidecarState, ...] = ()  # the programs beside Postgres that a document named


class RefreshBody(Struct, frozen=True, kw_only=True):
    """The answer to POST /refresh_configuration; the last four only where `wait` was given."""

    status: Status
    refresh_id: int
    coalesced: bool
    outcome: Outcome | UnsetType = UNSET
    in_sync: bool | UnsetType = UNSET
    proof: Proof | UnsetType = UNSET
    reason: str | UnsetType = UNSET
    """Why the outcome is not good, or why what was applied is not in force."""

    @classmethod
    def receipt(cls, status: Status, ticket: Ticket) -> RefreshBody:
        """Return what is said of a refresh request that nobody waits for."""
        return cls(status=status, refresh_id=ticket.refresh_id, coalesced=ticket.coalesced)

    @classmethod
    def of(cls, status: StatusBody, ticket: Ticket, outcome: Outcome) -> RefreshBody:
        """Return what is said of a refresh request that ended with *outcome*."""
        last = status.refresh.last_attempt
        if outcome not in GOOD_OUTCOMES:
            reason = status.error or (last.reason if last is not None else "")
        else:
            reason = status.config.not_in_force or status.config.not_kept or ""
        return structs.replace(
            cls.receipt(status.status, ticket),
            outcome=outcome,
            in_sync=status.config.in_sync,
            proof=status.config.proof,
            reason=redact(reason) if reason else UNSET,
        )


def redacted(text: str | None) -> str | None:
    """Return *text* without secrets; None for an empty one."""
    return redact(text) if text else None


def ended(run: Run | None) -> Run | None:
    """Return what is shown of an attempt or of work on the catalog."""
    if run is None:
        return None
    return structs.replace(run, reason=redact(run.reason), duration_ms=round(run.duration_ms, 3))


def _text(version: Version | None) -> str | None:
    return str(version) if version else None
