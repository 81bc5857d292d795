"""The bodies of the HTTP API, made from a snapshot of the node. Pure.

The first six keys of `/status` are the reference's, in its order, always present. No view shows the
marker: whoever knows it could forge an acknowledgement. Texts that come from outside are redacted.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

import msgspec
from msgspec import UNSET, Struct, UnsetType

from compute_ctl.decisions.facts import (
    GOOD_OUTCOMES,
    Attempt,
    Desired,
    Outcome,
    Snapshot,
    Suspicion,
    Ticket,
)
from compute_ctl.decisions.proof import Complaint, PendingRestart
from compute_ctl.decisions.recovery import Fact, Quarantined
from compute_ctl.decisions.state import Status
from compute_ctl.redact import redact


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
    desired: DesiredView | None
    applied: FactView | None
    last_known_good: FactView | None
    quarantined: list[QuarantinedView]


class SuspicionView(Struct, frozen=True, kw_only=True):
    """What Postgres says is wrong."""

    source: str
    shard: int | None
    trouble: str = msgspec.field(name="class")
    sqlstate: str
    text: str
    count: int


class AttemptView(Struct, frozen=True, kw_only=True):
    """One attempt to bring Postgres up to date."""

    id: int
    started_at: datetime
    finished_at: datetime
    duration_ms: float
    outcome: Outcome
    reason: str
    generation: int | None
    who: str


class RefreshView(Struct, frozen=True, kw_only=True):
    """Whether somebody suspects that the configuration is out of date, and what is done."""

    pending: bool
    suspected_since: datetime | None
    suspicion: SuspicionView | None
    last_attempt: AttemptView | None
    next_attempt_at: datetime | None
    requests_total: int


class PendingRestartView(Struct, frozen=True, kw_only=True):
    """A setting whose new value waits for a restart."""

    name: str
    old: str
    new: str
    file: str | None
    line: int | None


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
    pending_restart: list[PendingRestartView]
    drift: list[DriftView]
    catalog_error: str | None
    """Why roles, databases and extensions are not as wanted."""


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


class RefreshBody(Struct, frozen=True, kw_only=True):
    """The answer to POST /refresh_configuration; the last two only where `wait` was given."""

    status: Status
    refresh_id: int
    coalesced: bool
    outcome: Outcome | UnsetType = UNSET
    reason: str | UnsetType = UNSET


class AckBody(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The answer to POST /configuration_ack."""

    stale: bool = False


class HealthBody(Struct, frozen=True, kw_only=True):
    """The answer to a health question that could be said yes to."""

    status: str


class LsnBody(Struct, frozen=True, kw_only=True):
    """The answer to POST /terminate."""

    lsn: str | None


class ComputeMetricsBody(Struct, frozen=True, kw_only=True):
    """The answer to GET /metrics.json: durations of the start; 0 is what was not done here."""

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


class ErrorBody(Struct, frozen=True, kw_only=True):
    """Every answer from 400 on."""

    error: str
    hint: str | UnsetType = UNSET


def encode(body: Struct) -> bytes:
    """Return *body* as one line of JSON with a newline, for people who use curl."""
    return msgspec.json.encode(body) + b"\n"


def error_body(message: str, hint: str | None = None) -> ErrorBody:
    """Return the body of an error."""
    return ErrorBody(error=redact(message), hint=redact(hint) if hint else UNSET)


def refresh_body(
    status: Status, ticket: Ticket, outcome: Outcome | None = None, reason: str = ""
) -> RefreshBody:
    """Return the receipt for a refresh request, with its outcome if somebody waited for it."""
    told = outcome is not None and outcome not in GOOD_OUTCOMES and reason
    return RefreshBody(
        status=status,
        refresh_id=ticket.refresh_id,
        coalesced=ticket.coalesced,
        outcome=UNSET if outcome is None else outcome,
        reason=redact(reason) if told else UNSET,
    )


def status_body(snapshot: Snapshot) -> StatusBody:
    """Return the whole status."""
    return StatusBody(
        start_time=snapshot.start_time,
        tenant=snapshot.tenant,
        timeline=snapshot.timeline,
        status=snapshot.status,
        last_active=snapshot.last_active.isoformat() if snapshot.last_active else None,
        error=redact(snapshot.error) if snapshot.error else None,
        config=_config(snapshot),
        refresh=_refresh(snapshot),
        postgres=PostgresView(
            pid=snapshot.postgres_pid,
            version=snapshot.postgres_version,
            ready=snapshot.postgres_ready,
            pending_restart=_pending_restart(snapshot.pending_restart),
            drift=_drift(snapshot.drift),
            catalog_error=redact(snapshot.catalog_error) if snapshot.catalog_error else None,
        ),
    )


def _config(snapshot: Snapshot) -> ConfigView:
    return ConfigView(
        in_sync=snapshot.in_sync,
        desired=_desired(snapshot.desired),
        applied=_fact(snapshot.applied),
        last_known_good=_fact(snapshot.last_known_good),
        quarantined=[_quarantined(one) for one in snapshot.quarantined],
    )


def _desired(desired: Desired | None) -> DesiredView | None:
    if desired is None:
        return None
    return DesiredView(
        generation=desired.generation,
        sha256=desired.content_sha256,
        version=str(desired.version) if desired.version else None,
        at=desired.at,
        source=desired.source,
    )


def _fact(fact: Fact | None) -> FactView | None:
    if fact is None:
        return None
    return FactView(
        generation=fact.generation,
        sha256=fact.content_sha256,
        version=str(fact.version) if fact.version else None,
        at=fact.at,
    )


def _quarantined(one: Quarantined) -> QuarantinedView:
    return QuarantinedView(
        sha256=one.content_sha256,
        reason=redact(one.reason),
        at=one.at,
        version=str(one.version) if one.version else None,
        operation_uuid=one.operation_uuid,
    )


def _refresh(snapshot: Snapshot) -> RefreshView:
    return RefreshView(
        pending=snapshot.pending,
        suspected_since=snapshot.suspected_since,
        suspicion=_suspicion(snapshot.suspicion),
        last_attempt=_attempt(snapshot.last_attempt),
        next_attempt_at=snapshot.next_attempt_at,
        requests_total=snapshot.requests_total,
    )


def _suspicion(suspicion: Suspicion | None) -> SuspicionView | None:
    if suspicion is None:
        return None
    return SuspicionView(
        source=suspicion.source,
        shard=suspicion.shard,
        trouble=suspicion.trouble,
        sqlstate=suspicion.sqlstate,
        text=redact(suspicion.text),
        count=suspicion.count,
    )


def _attempt(attempt: Attempt | None) -> AttemptView | None:
    if attempt is None:
        return None
    return AttemptView(
        id=attempt.number,
        started_at=attempt.started_at,
        finished_at=attempt.finished_at,
        duration_ms=round(attempt.duration_ms, 3),
        outcome=attempt.outcome,
        reason=redact(attempt.reason),
        generation=attempt.generation,
        who=attempt.who,
    )


def _pending_restart(settings: Iterable[PendingRestart]) -> list[PendingRestartView]:
    return [
        PendingRestartView(
            name=one.name,
            old=redact(one.old),
            new=redact(one.new),
            file=one.file,
            line=one.line,
        )
        for one in settings
    ]


def _drift(complaints: Iterable[Complaint]) -> list[DriftView]:
    return [
        DriftView(name=one.name, reason=redact(one.reason), file=one.file, line=one.line)
        for one in complaints
    ]
