"""The bodies of the HTTP API, made from a snapshot of the node. Pure.

No view shows the marker: whoever knows it could forge an acknowledgement. Texts that come from
outside are redacted.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from msgspec import UNSET, structs

from compute_common.redact import redact
from compute_ctl.decisions.model import (
    GOOD_OUTCOMES,
    Attempt,
    CatalogRun,
    Desired,
    Outcome,
    Ticket,
)
from compute_ctl.decisions.persistent_state import GenerationRef, Quarantined
from compute_ctl.decisions.proof import Complaint
from compute_ctl.decisions.snapshot import Snapshot
from compute_ctl.decisions.transitions import Status
from compute_ctl.http.responses import (
    ConfigView,
    DesiredView,
    DriftView,
    FactView,
    PostgresView,
    QuarantinedView,
    RefreshBody,
    RefreshView,
    StatusBody,
)

Run = TypeVar("Run", Attempt, CatalogRun)


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
            pending_restart=[
                structs.replace(one, old=redact(one.old), new=redact(one.new))
                for one in snapshot.pending_restart
            ],
            drift=_drift(snapshot.drift),
            catalog_error=redact(snapshot.catalog_error) if snapshot.catalog_error else None,
            last_catalog=_ended(snapshot.last_catalog),
            drift_since=snapshot.drift_since,
        ),
        status_since=snapshot.status_since,
        error_since=snapshot.error_since,
        closed_ports=list(snapshot.closed_ports),
        report=structs.replace(
            snapshot.report,
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
    suspicion = snapshot.suspicion
    return RefreshView(
        pending=snapshot.pending,
        suspected_since=snapshot.suspected_since,
        suspicion=structs.replace(suspicion, text=redact(suspicion.text)) if suspicion else None,
        last_attempt=_ended(snapshot.last_attempt),
        next_attempt_at=snapshot.next_attempt_at,
        requests_total=snapshot.requests_total,
    )


def _ended(run: Run | None) -> Run | None:
    """Return an attempt or work on the catalog as it is shown."""
    if run is None:
        return None
    return structs.replace(run, reason=redact(run.reason), duration_ms=round(run.duration_ms, 3))


def _drift(complaints: Iterable[Complaint]) -> list[DriftView]:
    return [
        DriftView(name=one.name, reason=redact(one.reason), file=one.file, line=one.line)
        for one in complaints
    ]
