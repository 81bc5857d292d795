"""The node at one moment, as it is shown."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from compute_ctl.decisions.facts import Snapshot
from compute_ctl.decisions.proof import Proof, Verdict
from compute_ctl.ports import Clock, Postgres

if TYPE_CHECKING:
    from compute_ctl.node.node import Node


def take(node: Node, *, postgres: Postgres, clock: Clock) -> Snapshot:
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
        applied=node.state.applied,
        started=node.state.started,
        proven_in_full=node.state.fallback,
        last_known_good=node.state.last_known_good,
        quarantined=node.state.quarantine,
        in_sync=in_sync(node),
        pending=requests.requested > requests.served,
        suspected_since=at(requests.suspected_since) if complains else None,
        suspicion=requests.suspicion if complains else None,
        last_attempt=node.last_attempt,
        next_attempt_at=at(node.next_attempt_at),
        requests_total=requests.requested,
        postgres_pid=postgres.pid,
        postgres_ready=ready,
        postgres_since=at(server.changed_at),
        postgres_silent_since=at(server.silent_since) if ready else None,
        postgres_silent_because=server.silent_because if ready else "",
        postgres_version=server.version,
        library_loaded=server.library_loaded,
        pending_restart=verdict.pending_restart,
        drift=verdict.shadowed,
        drift_since=at(server.drift_since),
        catalog_error=server.catalog_error,
        last_catalog=server.last_catalog,
    )


def in_sync(node: Node) -> bool:
    """Return whether the document desired is the one in force."""
    applied, written = node.state.applied, node.written
    return (
        node.desired is not None
        and applied is not None
        and written is not None
        and not written.is_fallback
        and node.desired.content_sha256 == applied.content_sha256
        and not (node.verdict is not None and node.verdict.lost)
    )
