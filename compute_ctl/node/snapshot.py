"""Builds the snapshot of a node: everything that is shown of it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from msgspec import structs

from compute_common.errors import SpecError
from compute_common.redact import redact
from compute_ctl.decisions.candidates import ShardCandidates
from compute_ctl.decisions.model import (
    Suspected,
    Suspicion,
)
from compute_ctl.decisions.proof import Proof, Verdict
from compute_ctl.decisions.status import (
    ClusterView,
    ConfigView,
    DesiredView,
    DriftView,
    GenerationView,
    PostgresView,
    QuarantinedView,
    RefreshView,
    StatusBody,
    ended,
    redacted,
)
from compute_ctl.document.conninfo import parse
from compute_ctl.document.spec_sources import CONNSTRING, PRIMARY
from compute_ctl.ports import Clock, Postgres

if TYPE_CHECKING:
    from compute_ctl.node.node import Node


def build_snapshot(node: Node, *, postgres: Postgres, clock: Clock) -> StatusBody:
    """Return everything there is to show of *node* and its *postgres*."""
    at = _wall(clock)
    return StatusBody(
        start_time=node.start_time,
        tenant=node.config.tenant,
        timeline=node.config.timeline,
        status=node.status,
        last_active=node.server.last_active.isoformat() if node.server.last_active else None,
        error=redacted(node.attempts.error),
        config=_config(node),
        refresh=_refresh(node, clock.monotonic(), at),
        postgres=_postgres(node, postgres, at),
        status_since=at(node.status_since),
        error_since=at(node.attempts.error_since),
        closed_ports=node.closed_ports.reasons,
        report=structs.replace(node.report, error=redacted(node.report.error)),
        cluster=_cluster(node.server.cluster),
        sidecars=tuple(node.server.sidecars.values()),
        promotion=node.promotions.view,
    )


def _wall(clock: Clock) -> Callable[[float | None], datetime | None]:
    """Return what converts monotonic seconds to a time of day."""
    now, wall = clock.monotonic(), clock.wall()
    return lambda at: None if at is None else wall + timedelta(seconds=at - now)


def _cluster(view: ClusterView | None) -> ClusterView | None:
    return None if view is None else structs.replace(view, error=redacted(view.error))


def _config(node: Node) -> ConfigView:
    state = node.config.shown
    return ConfigView(
        in_sync=in_sync(node),
        proof=proof(node),
        not_in_force=redacted(not_in_force(node)),
        not_kept=redacted(node.config.not_kept),
        desired=DesiredView.of(node.config.desired) if node.config.desired else None,
        applied=GenerationView.of(state.applied),
        started=GenerationView.of(state.started),
        proven_in_full=GenerationView.of(state.fallback),
        last_known_good=GenerationView.of(state.last_known_good),
        quarantined=tuple(map(QuarantinedView.of, state.quarantine)),
        candidates=_candidates(node),
        warnings=tuple(map(redact, node.config.document_warnings)),
        document_file=node.config.document_file,
    )


def _candidates(node: Node) -> tuple[ShardCandidates, ...]:
    written = node.config.written
    if written is None:
        return ()
    found = written.candidates
    return tuple(
        ShardCandidates(
            shard=number,
            in_use=_address(found.in_use[number]) or "",
            others=tuple(_address(one) or "" for one in found.others(number)),
        )
        for number, shard in enumerate(found.named)
        if len(shard) > 1
    )


def _refresh(node: Node, now: float, at: Callable[[float | None], datetime | None]) -> RefreshView:
    requests = node.requests
    complains = requests.suspected(now) and requests.worker_complains
    suspicion = requests.suspicion if complains else None
    return RefreshView(
        pending=requests.requested > requests.served,
        suspected_since=at(requests.suspected_since) if complains else None,
        suspicion=structs.replace(suspicion, text=redact(suspicion.text)) if suspicion else None,
        last_attempt=ended(node.attempts.last),
        next_attempt_at=at(node.attempts.next_at),
        requests_total=requests.requested,
    )


def _postgres(
    node: Node, postgres: Postgres, at: Callable[[float | None], datetime | None]
) -> PostgresView:
    server, ready = node.server, postgres.ready
    verdict = node.config.verdict or Verdict(proof=Proof.NONE)
    return PostgresView(
        pid=postgres.pid,
        version=server.version,
        ready=ready,
        since=at(server.changed_at),
        silent_since=at(server.silent_since) if ready else None,
        silent_because=redacted(server.silent_because) if ready else None,
        login_ms=None if server.login_ms is None else round(server.login_ms, 1),
        library_loaded=server.library_loaded,
        pending_restart=tuple(
            structs.replace(one, old=redact(one.old), new=redact(one.new))
            for one in verdict.pending_restart
        ),
        drift=tuple(map(DriftView.of, verdict.shadowed)),
        catalog_error=redacted(server.catalog_error),
        last_catalog=ended(server.last_catalog),
        drift_since=at(server.drift_since),
        lease=server.lease,
    )


def suspicions(node: Node, clock: Clock) -> tuple[Suspected, ...]:
    """Return one complaint for each server of which Postgres complains, or was led away from."""
    now, wall = clock.monotonic(), clock.wall()
    written = node.config.written
    left = node.requests.lasting_left(written, now) if written is not None else {}
    complaints = [
        (it, _endpoint(node, it.suspicion)) for it in node.requests.lasting_complaints(now)
    ]
    complaints += [(it, _address(server)) for server, it in left.items()]
    return tuple(
        Suspected(
            suspicion=it.suspicion,
            since=wall + timedelta(seconds=it.since - now),
            endpoint=endpoint,
        )
        for it, endpoint in complaints
    )


def _endpoint(node: Node, suspicion: Suspicion) -> str | None:
    """Return ``host:port`` of a suspected server in the live file."""
    servers = node.config.written.servers if node.config.written is not None else {}
    entry = servers.get(PRIMARY if suspicion.source == "primary" else "")
    if suspicion.source == "pageserver":
        entries = servers.get(CONNSTRING, "").split(",")
        number = suspicion.shard or 0
        entry = entries[number] if number < len(entries) else None
    return _address(entry) if entry else None


def _address(entry: str) -> str | None:
    try:
        return parse(entry).address
    except SpecError:  # somebody has edited the file
        return None


def in_sync(node: Node) -> bool:
    """Return whether the document desired is in force: a new session runs with it."""
    applied, written = node.config.shown.applied, node.config.written
    return (
        node.config.desired is not None
        and applied is not None
        and written is not None
        and not written.is_fallback
        and applied.marker == str(written.marker)
        and node.config.desired.content_sha256 == applied.content_sha256
        and not not_in_force(node)
    )


def proof(node: Node) -> Proof:
    """Return how much is proven of what is in the live file."""
    if not node.config.proven or node.config.written is None or _overridden(node):
        return Proof.NONE
    in_full = node.config.written.in_full and not node.server.login_refused
    return Proof.FULL if in_full else Proof.UPSTREAM


def not_in_force(node: Node) -> str:
    """Return why a new session does not run with what is applied, or may not; '' if it does."""
    if why := _overridden(node):
        return why
    server, written, applied = node.server, node.config.written, node.config.state.applied
    if server.login_refused:
        return f"new sessions are refused: {server.login_refused}"
    if written is None or applied is None or applied.marker != str(written.marker):
        return ""  # the status already shows it as not applied
    if written.in_full or written.rest == node.config.sessions_rest:
        return ""  # a session has run with the same rest, and the worker vouches for the servers
    because = f": {server.probe_error}" if server.probe_error else ""
    return f"proven for the servers only, no new session has answered yet{because}"


def _overridden(node: Node) -> str:
    """Return what keeps the servers of the live file out of force."""
    if node.config.verdict is not None and node.config.verdict.lost:
        return "; ".join(f"{one.name}: {one.reason}" for one in node.config.verdict.shadowed)
    ack = node.acks.latest
    if node.config.proven and ack is not None and not ack.map_matches:
        return f"{CONNSTRING}: the server has acknowledged another list than that of the file"
    return ""
