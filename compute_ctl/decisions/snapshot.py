"""Everything there is to show of a node, at one moment. Pure data."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from compute_ctl.decisions.model import (
    Attempt,
    CatalogRun,
    Desired,
    ReportStatus,
    Suspected,
    Suspicion,
)
from compute_ctl.decisions.persistent_state import GenerationRef, Quarantined
from compute_ctl.decisions.proof import Complaint, PendingRestart, Proof
from compute_ctl.decisions.transitions import Status


@dataclass(frozen=True, kw_only=True, slots=True)
class Snapshot:
    """The node at one moment, for `views`, metrics and tests."""

    status: Status
    status_since: datetime | None
    start_time: datetime
    tenant: str | None
    timeline: str | None
    last_active: datetime | None
    error: str | None
    desired: Desired | None
    applied: GenerationRef | None
    started: GenerationRef | None
    proven_in_full: GenerationRef | None
    last_known_good: GenerationRef | None
    quarantined: tuple[Quarantined, ...]
    in_sync: bool
    """Desired is applied, and a new session runs with it."""
    pending: bool
    suspected_since: datetime | None
    suspicion: Suspicion | None
    """The newest."""
    suspicions: tuple[Suspected, ...]
    """One for each server that is suspected."""
    last_attempt: Attempt | None
    next_attempt_at: datetime | None
    requests_total: int
    postgres_pid: int | None
    postgres_ready: bool
    postgres_since: datetime | None
    """When that last changed, as far as this daemon has seen."""
    postgres_silent_since: datetime | None
    """It accepts connections, but has not answered over SQL since then."""
    postgres_silent_because: str
    postgres_version: str | None
    library_loaded: bool | None
    """Whether it has loaded ours, so that it asks by itself; None: unknown."""
    pending_restart: tuple[PendingRestart, ...]
    drift: tuple[Complaint, ...]
    catalog_error: str | None = None
    """Why roles, databases and extensions are not as the document in force wants them."""
    last_catalog: CatalogRun | None = None
    """The last work on them."""
    warnings: tuple[str, ...] = ()
    """What is odd in the newest document."""
    closed_ports: tuple[str, ...] = ()
    """Why ports of the API are not open."""
    error_since: datetime | None = None
    drift_since: datetime | None = None
    proof: Proof = Proof.NONE
    """How much of what is written is proven to run."""
    not_in_force: str = ""
    """Why what is applied is not, or not for certain, what a new session runs with; '' if it is."""
    login_ms: float | None = None
    """How long the last login took; None: there was none."""
    report: ReportStatus = field(default_factory=ReportStatus)
