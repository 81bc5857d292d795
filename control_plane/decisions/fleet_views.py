"""Makes the views of the fleet, its nodes, hooks, verdicts and history. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from itertools import islice
from typing import Final

from msgspec import structs

from compute_common.redact import redact
from control_plane.decisions.fleet import Condition
from control_plane.decisions.model import HistoryEvent, StorageNode, Verdict
from control_plane.decisions.overview import Overview, Suspects
from control_plane.decisions.view_state import FleetState
from control_plane.decisions.views import (
    FleetView,
    HistoryView,
    HooksView,
    NodeRow,
    NodesView,
    PendingHookRow,
    ServiceView,
    StatusView,
    VerdictsView,
)

FIRST_EVENTS: Final = 20
FIRST_HOOKS: Final = 10
FIRST_VERDICTS: Final = 5
SHOWN_COMPUTES: Final = 100
"""Names in a list that belongs to something else: who suspects a node, who holds up a hook."""
SHOWN_OTHERS: Final = 100
"""Suspected servers that are no nodes: a compute may make them up."""


def nodes_view(overview: Overview) -> NodesView:
    """Return all nodes and all other servers that are suspected, those with trouble first."""
    newest = {one.node_id: one for one in overview.state.verdicts}
    rows = [_node(overview, node, newest.get(node.id)) for node in overview.state.nodes.nodes]
    others = [
        (named, it) for named, it in overview.sweep.suspects.items() if isinstance(named, str)
    ]
    others.sort(key=lambda other: -len(other[1].by))
    for named, suspects in others[:SHOWN_OTHERS]:
        rows.append(_suspected(NodeRow(endpoint=redact(named)), suspects))
    rows.sort(key=lambda row: (not row.is_bad, row.id is None, row.id or 0, row.endpoint))
    return NodesView(at=overview.now.wall, nodes=tuple(rows))


def _node(overview: Overview, node: StorageNode, verdict: Verdict | None) -> NodeRow:
    row = NodeRow(
        id=node.id,
        availability=node.availability,
        scheduling=node.scheduling,
        availability_zone_id=node.availability_zone_id,
        endpoint=node.pg_endpoint,
        users=overview.sweep.users[node.id],
        verdict=verdict and redacted_verdict(verdict),
    )
    return _suspected(row, overview.sweep.suspects.get(node.id))


def _suspected(row: NodeRow, suspects: Suspects | None) -> NodeRow:
    if suspects is None:
        return row
    return structs.replace(
        row,
        suspects=len(suspects.by),
        suspected_by=tuple(islice(suspects.by, SHOWN_COMPUTES)),
        troubles=tuple(suspects.troubles),
        suspected_since=suspects.since,
    )


def hooks_view(overview: Overview, first: int = FIRST_HOOKS) -> HooksView:
    """Return the hooks that wait for their answer, oldest first."""
    pending = sorted(overview.state.pending_hooks, key=lambda hook: hook.since)
    rows = [
        PendingHookRow(
            kind=hook.kind,
            tenant_id=hook.tenant_id,
            since=overview.now.at(hook.since),
            waits_for=hook.waits_for[:SHOWN_COMPUTES],
            others=max(len(hook.waits_for) - SHOWN_COMPUTES, 0),
        )
        for hook in pending[:first]
    ]
    return HooksView(
        total=len(pending), oldest_since=rows[0].since if rows else None, first=tuple(rows)
    )


def status_view(overview: Overview, service: ServiceView) -> StatusView:
    """Return how the control plane and its fleet are, in numbers."""
    state, behind = overview.state, overview.behind()
    counts = Counter(overview.sweep.conditions.values())
    since = (state.computes[one].published_at for one in behind)
    rows = nodes_view(overview).nodes
    hooks = hooks_view(overview, first=1)
    return StatusView(
        at=overview.now.wall,
        service=service,
        started_at=overview.now.at(state.started_at),
        store_failure=redact(state.store_failure),
        computes={one: counts[one] for one in Condition},
        behind=len(behind),
        oldest_behind_since=min((at for at in since if at), default=None),
        nodes=len(state.nodes.nodes),
        nodes_bad=sum(row.is_bad for row in rows),
        held_requests=overview.sweep.held,
        pending_hooks=hooks.total,
        oldest_hook_since=hooks.oldest_since,
    )


def fleet_view(
    overview: Overview, service: ServiceView, *, query: str = "", wanted: Condition | None = None
) -> FleetView:
    """Return one screen for the whole fleet."""
    return FleetView(
        status=status_view(overview, service),
        laggards=overview.laggards(),
        nodes=nodes_view(overview),
        hooks=hooks_view(overview),
        verdicts=verdicts_view(overview, first=FIRST_VERDICTS).verdicts,
        history=history_view(overview, first=FIRST_EVENTS).events,
        computes=overview.search(query, wanted),
    )


def verdicts_view(overview: Overview, *, first: int) -> VerdictsView:
    """Return the last verdicts, newest first."""
    newest = islice(reversed(overview.state.verdicts), first)
    return VerdictsView(at=overview.now.wall, verdicts=tuple(map(redacted_verdict, newest)))


def history_view(
    overview: Overview,
    *,
    compute_id: str | None = None,
    tenant_id: str | None = None,
    node_id: int | None = None,
    first: int = FIRST_EVENTS,
) -> HistoryView:
    """Return the last events about all that is named, newest first."""
    found = [
        event
        for event in reversed(overview.state.history)
        if (compute_id is None or event.compute_id == compute_id)
        and (tenant_id is None or event.tenant_id == tenant_id)
        and (node_id is None or event.node_id == node_id)
    ]
    return HistoryView(
        at=overview.now.wall, total=len(found), events=redacted_events(found[:first])
    )


def timeline(state: FleetState, compute_id: str, *, first: int) -> tuple[HistoryEvent, ...]:
    """Return what happened to a compute and to the storage of its tenant, newest first.

    What it said lately is part of it.
    """
    tenant_id = state.computes[compute_id].tenant_id
    about = [
        event
        for event in state.history
        if event.compute_id == compute_id
        or (event.compute_id is None and tenant_id is not None and event.tenant_id == tenant_id)
    ]
    about += state.recent.get(compute_id, ())
    about.sort(key=lambda event: event.at)
    return redacted_events(islice(reversed(about), first))


def redacted_events(events: Iterable[HistoryEvent]) -> tuple[HistoryEvent, ...]:
    """Return *events* as they may be shown."""
    return tuple(
        structs.replace(
            event,
            text=redact(event.text),
            verdict=event.verdict and redacted_verdict(event.verdict),
        )
        for event in events
    )


def redacted_verdict(verdict: Verdict) -> Verdict:
    """Return *verdict* as it may be shown."""
    return structs.replace(
        verdict, reason=redact(verdict.reason), probes=tuple(map(redact, verdict.probes))
    )
