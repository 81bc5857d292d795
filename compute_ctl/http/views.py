"""The bodies of the HTTP API, made from a snapshot of the node. Pure.

No view shows the marker: whoever knows it could forge an acknowledgement. Texts that come from
outside are redacted.
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import UNSET

from compute_ctl.decisions.model import (
    GOOD_OUTCOMES,
    Attempt,
    CatalogRun,
    Desired,
    Outcome,
    Snapshot,
    Suspicion,
    Ticket,
)
from compute_ctl.decisions.persistent_state import GenerationRef, Quarantined
from compute_ctl.decisions.proof import Complaint, PendingRestart
from compute_ctl.decisions.transitions import Status
from compute_ctl.http.responses import (
    AttemptView,
    CatalogRunView,
    ConfigView,
    DesiredView,
    DriftView,
    ErrorBody,
    FactView,
    PendingRestartView,
    PostgresView,
    QuarantinedView,
    RefreshBody,
    RefreshView,
    ReportView,
    StatusBody,
    SuspicionView,
)
from compute_ctl.redact import redact


def error_body(message: str, hint: str | None = None) -> ErrorBody:
    """Return the body of an error."""
    return ErrorBody(error=redact(message), hint=redact(hint) if hint else UNSET)


def refresh_body(status: Status, ticket: Ticket) -> RefreshBody:
    """Return the receipt for a refresh request."""
    return RefreshBody(status=status, refresh_id=ticket.refresh_id, coalesced=ticket.coalesced)


def outcome_body(snapshot: Snapshot, ticket: Ticket, outcome: Outcome) -> RefreshBody:
    """Return the receipt for a refresh request that somebody has waited for, with its outcome."""
    failed = outcome not in GOOD_OUTCOMES
    ended = snapshot.last_attempt
    why = snapshot.error or (ended.reason if ended is not None else "")
    reason = why if failed else snapshot.not_in_force
    return RefreshBody(
        status=snapshot.status,
        refresh_id=ticket.refresh_id,
        coalesced=ticket.coalesced,
        outcome=outcome,
        in_sync=snapshot.in_sync,
        proof=snapshot.proof,
        reason=redact(reason) if reason else UNSET,
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
            since=snapshot.postgres_since,
            silent_since=snapshot.postgres_silent_since,
            silent_because=redact(snapshot.postgres_silent_because) or None,
            login_ms=None if snapshot.login_ms is None else round(snapshot.login_ms, 1),
            library_loaded=snapshot.library_loaded,
            pending_restart=_pending_restart(snapshot.pending_restart),
            drift=_drift(snapshot.drift),
            catalog_error=redact(snapshot.catalog_error) if snapshot.catalog_error else None,
            last_catalog=_catalog_run(snapshot.last_catalog),
            drift_since=snapshot.drift_since,
        ),
        status_since=snapshot.status_since,
        error_since=snapshot.error_since,
        closed_ports=list(snapshot.closed_ports),
        report=ReportView(
            accepted_at=snapshot.report.accepted_at,
            desired_sha256=snapshot.report.desired_sha256,
            applied_sha256=snapshot.report.applied_sha256,
            error=redact(snapshot.report.error) if snapshot.report.error else None,
        ),
    )


def _config(snapshot: Snapshot) -> ConfigView:
    return ConfigView(
        in_sync=snapshot.in_sync,
        proof=snapshot.proof,
        not_in_force=redact(snapshot.not_in_force) or None,
        desired=_desired(snapshot.desired),
        applied=_fact(snapshot.applied),
        started=_fact(snapshot.started),
        proven_in_full=_fact(snapshot.proven_in_full),
        last_known_good=_fact(snapshot.last_known_good),
        quarantined=[_quarantined(one) for one in snapshot.quarantined],
        warnings=[redact(warning) for warning in snapshot.warnings],
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


def _fact(fact: GenerationRef | None) -> FactView | None:
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


def _catalog_run(run: CatalogRun | None) -> CatalogRunView | None:
    if run is None:
        return None
    return CatalogRunView(
        kind=run.kind,
        started_at=run.started_at,
        finished_at=run.finished_at,
        duration_ms=round(run.duration_ms, 3),
        outcome=run.outcome,
        reason=redact(run.reason),
        statements=run.statements,
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
