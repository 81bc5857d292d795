"""Makes the view of one compute. Pure."""

from __future__ import annotations

from typing import Final

from compute_common.redact import redact
from control_plane.decisions.fleet_views import timeline
from control_plane.decisions.model import Heard, NodeList, Report, Suspicion, TenantRecord
from control_plane.decisions.overview import NEVER, Overview
from control_plane.decisions.views import ComputeView, ReportView, ShardRow, SuspicionRow

FIRST_EVENTS: Final = 100


def compute_view(overview: Overview, compute_id: str) -> ComputeView:
    """Return everything that is known of a compute. Raises KeyError."""
    state = overview.state
    record = state.computes[compute_id]
    heard = state.heard.get(compute_id, NEVER)
    tenant = state.tenants.get(record.tenant_id or "")
    placement = tenant.placement if tenant else None
    return ComputeView(
        at=overview.now.wall,
        row=overview.row(compute_id),
        timeline_id=record.timeline_id,
        published_at=record.published_at,
        content_sha256=record.content_sha256,
        push_url=redact(record.push_url) if record.push_url else None,
        pushed_generation=heard.pushed_generation or None,
        push_error=redact(heard.push_error),
        held_requests=heard.holds,
        report=_report(heard, overview),
        placement_source=tenant.placement_source if tenant else None,
        shards=_shards(tenant, state.nodes),
        stripe_size=placement.stripe_size if placement else None,
        timeline=timeline(state, compute_id, first=FIRST_EVENTS),
    )


def _report(heard: Heard, overview: Overview) -> ReportView | None:
    report: Report | None = heard.report
    if report is None:
        return None
    return ReportView(
        at=overview.now.at(heard.reported_at) if heard.reported_at is not None else None,
        daemon=redact(report.daemon),
        version=redact(report.version),
        status=redact(report.status),
        desired=report.desired,
        applied=report.applied,
        outcome=redact(report.outcome) if report.outcome else None,
        reason=redact(report.reason),
        pending_restart=tuple(map(redact, report.pending_restart)),
        suspicions=tuple(_suspicion(one, overview) for one in report.suspicions),
    )


def _suspicion(one: Suspicion, overview: Overview) -> SuspicionRow:
    node = overview.by_endpoint.get(one.endpoint or "")
    return SuspicionRow(
        source=redact(one.source),
        trouble=redact(one.trouble),
        shard=one.shard,
        endpoint=redact(one.endpoint) if one.endpoint else None,
        node_id=node.id if node else None,
        sqlstate=redact(one.sqlstate),
        text=redact(one.text),
        since=one.since,
        count=one.count,
    )


def _shards(tenant: TenantRecord | None, nodes: NodeList) -> tuple[ShardRow, ...]:
    if tenant is None or tenant.placement is None:
        return ()
    known = {node.id: node for node in nodes.nodes}
    return tuple(
        ShardRow(
            shard=shard,
            node_id=node_id,
            endpoint=known[node_id].pg_endpoint if node_id in known else None,
            availability=known[node_id].availability if node_id in known else None,
        )
        for shard, node_id in enumerate(tenant.placement.nodes)
    )
