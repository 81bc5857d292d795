"""Builds the snapshot of a node: everything that is shown of it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from compute_common.errors import SpecError
from compute_ctl.decisions.model import (
    Suspected,
    Suspicion,
)
from compute_ctl.decisions.proof import Proof, Verdict
from compute_ctl.decisions.snapshot import Snapshot
from compute_ctl.document.conninfo import parse
from compute_ctl.document.spec_sources import CONNSTRING, PRIMARY
from compute_ctl.ports import Clock, Postgres

if TYPE_CHECKING:
    from compute_ctl.node.node import Node


DEFAULT_PORT: Final = 5432
"""Of libpq."""


def build_snapshot(node: Node, *, postgres: Postgres, clock: Clock) -> Snapshot:
    """Return everything there is to show of *node* and its *postgres*."""
    now, wall = clock.monotonic(), clock.wall()

    def at(monotonic: float | None) -> datetime | None:
        return None if monotonic is None else wall + timedelta(seconds=monotonic - now)

    requests, server = node.requests, node.server
    complains = requests.suspected(now) and requests.worker_complains
    verdict = node.verdict or Verdict(proof=Proof.NONE)
    ready = postgres.ready
    return Snapshot(
        status=node.status,
        status_since=at(node.status_since),
        start_time=node.start_time,
        tenant=node.tenant,
        timeline=node.timeline,
        last_active=server.last_active,
        error=node.error,
        error_since=at(node.error_since),
        desired=node.desired,
        applied=node.shown.applied,
        started=node.shown.started,
        proven_in_full=node.shown.fallback,
        last_known_good=node.shown.last_known_good,
        quarantined=node.shown.quarantine,
        in_sync=in_sync(node),
        proof=proof(node),
        not_in_force=not_in_force(node),
        warnings=node.document_warnings,
        pending=requests.requested > requests.served,
        suspected_since=at(requests.suspected_since) if complains else None,
        suspicion=requests.suspicion if complains else None,
        suspicions=tuple(
            Suspected(
                suspicion=it.suspicion,
                since=wall + timedelta(seconds=it.since - now),
                endpoint=_endpoint(node, it.suspicion),
            )
            for it in requests.lasting_complaints(now)
        ),
        last_attempt=node.last_attempt,
        next_attempt_at=at(node.next_attempt_at),
        requests_total=requests.requested,
        postgres_pid=postgres.pid,
        postgres_ready=ready,
        postgres_since=at(server.changed_at),
        postgres_silent_since=at(server.silent_since) if ready else None,
        postgres_silent_because=server.silent_because if ready else "",
        login_ms=server.login_ms,
        postgres_version=server.version,
        library_loaded=server.library_loaded,
        pending_restart=verdict.pending_restart,
        drift=verdict.shadowed,
        drift_since=at(server.drift_since),
        catalog_error=server.catalog_error,
        last_catalog=server.last_catalog,
        closed_ports=tuple(node.closed_ports.values()),
        report=node.report,
    )


def _endpoint(node: Node, suspicion: Suspicion) -> str | None:
    """Return ``host:port`` of a suspected server in the live file."""
    servers = node.written.servers if node.written is not None else {}
    entry = servers.get(PRIMARY if suspicion.source == "primary" else "")
    if suspicion.source == "pageserver":
        entries = servers.get(CONNSTRING, "").split(",")
        number = suspicion.shard or 0
        entry = entries[number] if number < len(entries) else None
    if not entry:
        return None
    try:
        conninfo = parse(entry)
    except SpecError:
        return None
    return f"{conninfo.host}:{conninfo.port or DEFAULT_PORT}" if conninfo.host else None


def in_sync(node: Node) -> bool:
    """Return whether the document desired is in force: a new session runs with it."""
    applied, written = node.shown.applied, node.written
    return (
        node.desired is not None
        and applied is not None
        and written is not None
        and not written.is_fallback
        and applied.marker == str(written.marker)
        and node.desired.content_sha256 == applied.content_sha256
        and not not_in_force(node)
    )


def proof(node: Node) -> Proof:
    """Return how much is proven of what is in the live file."""
    if not node.proven or node.written is None or _overridden(node):
        return Proof.NONE
    in_full = node.written.in_full and not node.server.login_refused
    return Proof.FULL if in_full else Proof.UPSTREAM


def not_in_force(node: Node) -> str:
    """Return why a new session does not run with what is applied, or may not; '' if it does."""
    if why := _overridden(node):
        return why
    server, written, applied = node.server, node.written, node.state.applied
    if server.login_refused:
        return f"new sessions are refused: {server.login_refused}"
    if written is None or applied is None or applied.marker != str(written.marker):
        return ""  # the status already shows it as not applied
    if written.in_full or written.rest == node.sessions_rest:
        return ""  # a session has run with the same rest, and the worker vouches for the servers
    because = f": {server.probe_error}" if server.probe_error else ""
    return f"proven for the servers only, no new session has answered yet{because}"


def _overridden(node: Node) -> str:
    """Return what keeps the servers of the live file out of force."""
    if node.verdict is not None and node.verdict.lost:
        return "; ".join(f"{one.name}: {one.reason}" for one in node.verdict.shadowed)
    ack = node.acks.latest
    if node.proven and ack is not None and not ack.map_matches:
        return f"{CONNSTRING}: the server has acknowledged another list than that of the file"
    return ""
