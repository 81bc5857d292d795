"""The response bodies of the HTTP API. Pure.

The first six keys of `/status` are those of Neon's compute_ctl, in its order, and always present.
"""

from __future__ import annotations

from datetime import datetime

from msgspec import UNSET, Struct, UnsetType

from compute_ctl.decisions.model import Attempt, CatalogRun, Outcome, ReportStatus, Suspicion
from compute_ctl.decisions.proof import PendingRestart, Proof
from compute_ctl.decisions.transitions import Status


class DesiredView(Struct, frozen=True, kw_only=True):
    """The newest document accepted, whether or not it could be applied."""

    generation: int | None
    """Generation of the configuration file rendered from it; null before that."""
    sha256: str
    version: str | None
    at: datetime
    source: str


class FactView(Struct, frozen=True, kw_only=True):
    """A generation of the configuration file."""

    generation: int
    sha256: str
    version: str | None
    at: datetime


class QuarantinedView(Struct, frozen=True, kw_only=True):
    """A document that will not be tried again as it is."""

    sha256: str
    reason: str
    at: datetime
    version: str | None
    operation_uuid: str | None


class ConfigView(Struct, frozen=True, kw_only=True):
    """What is wanted, what runs, and what can be fallen back to."""

    in_sync: bool
    """`desired` is applied, and a new session runs with it."""
    proof: Proof
    """How much is proven of the generation in the file: `full`: a new session runs with it;
    `upstream`: Postgres has acknowledged its servers, no new session has answered; `none`."""
    not_in_force: str | None
    """Why what is applied is not, or not for certain, what a new session runs with."""
    desired: DesiredView | None
    applied: FactView | None
    started: FactView | None
    """The newest generation that a server came up with."""
    proven_in_full: FactView | None
    """The newest generation proven in full: while the server runs, its settings replace refused
    ones."""
    last_known_good: FactView | None
    """The newest generation that is both proven in full and started."""
    quarantined: list[QuarantinedView]
    warnings: list[str]
    """What is odd in the newest document: misspelt names, secrets in plain sight."""


class RefreshView(Struct, frozen=True, kw_only=True):
    """Whether somebody suspects that the configuration is out of date, and what is done."""

    pending: bool
    suspected_since: datetime | None
    suspicion: Suspicion | None
    last_attempt: Attempt | None
    next_attempt_at: datetime | None
    requests_total: int


class DriftView(Struct, frozen=True, kw_only=True):
    """A managed setting that something else overrides."""

    name: str | None
    reason: str
    file: str | None
    line: int | None


class PostgresView(Struct, frozen=True, kw_only=True):
    """The server as last seen."""

    pid: int | None
    version: str | None
    """Major version of the data directory."""
    ready: bool
    since: datetime | None
    """When `ready` last changed; null where it has not since the daemon started."""
    silent_since: datetime | None
    """It is ready, but has not answered over SQL since then; null while it does."""
    silent_because: str | None
    login_ms: float | None
    """How long the last login took; null where there was none."""
    library_loaded: bool | None
    """Whether it has loaded `neon_refresh`, so that it asks by itself; null: unknown yet."""
    pending_restart: list[PendingRestart]
    drift: list[DriftView]
    catalog_error: str | None
    """Why roles, databases and extensions are not as wanted."""
    last_catalog: CatalogRun | None
    drift_since: datetime | None
    """When `drift` was first seen; null while there is none."""


class StatusBody(Struct, frozen=True, kw_only=True):
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
    status_since: datetime | None
    """When `status` last changed; a look that finds nothing does not count."""
    error_since: datetime | None
    """When `error` became what it is; null while there is none."""
    closed_ports: list[str]
    """Why ports of the API are not open; the daemon goes on trying."""
    report: ReportStatus


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


class AckBody(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The answer to POST /configuration_ack."""

    stale: bool = False


class HealthBody(Struct, frozen=True, kw_only=True):
    """The answer to a health check that succeeds."""

    status: str


class SyncBody(Struct, frozen=True, kw_only=True):
    """The answer to GET /syncz while in sync."""

    status: str
    proof: Proof


class LsnBody(Struct, frozen=True, kw_only=True):
    """The answer to POST /terminate."""

    lsn: str | None


class ComputeMetricsBody(Struct, frozen=True, kw_only=True):
    """The answer to GET /metrics.json: durations of the start, 0 for what is not done here."""

    wait_for_spec_ms: int = 0
    sync_sk_check_ms: int = 0
    sync_safekeepers_ms: int = 0
    pageserver_connect_micros: int = 0
    basebackup_ms: int = 0
    basebackup_bytes: int = 0
    start_postgres_ms: int = 0
    config_ms: int = 0
    total_startup_ms: int = 0
    load_ext_ms: int = 0
    num_ext_downloaded: int = 0
    largest_ext_size: int = 0
    total_ext_download_size: int = 0


class ExtensionBody(Struct, frozen=True, kw_only=True):
    """The answer to POST /extensions."""

    extension: str
    version: str


class GrantBody(Struct, frozen=True, kw_only=True):
    """The answer to POST /grants."""

    database: str
    schema: str
    privileges: list[str]
    role: str
