"""What the commands show as tables; loads rich, so imported when a command prints one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from compute_common.cli import tables
from compute_common.cli.output import duration
from control_plane.decisions.fleet import Condition
from control_plane.decisions.model import HistoryEvent, ReportedDocument, Verdict, VerdictState
from control_plane.decisions.views import (
    ComputeRow,
    ComputesView,
    ComputeView,
    HistoryView,
    NodeRow,
    NodesView,
    ReportView,
    StatusView,
    SuspicionRow,
    VerdictsView,
)

_LONG: Final = frozenset({"why", "what", "suspected by", "verdict", "probes", "text", "server"})
"""Columns that may wrap."""
_STYLES: Final = {
    Condition.IN_SYNC: "green",
    Condition.APPLYING: "yellow",
    Condition.REFUSED: "red",
    Condition.INCOMPLETE: "red",
}
_NAMED: Final = 3
_SHORT_HASH: Final = 12


def status(view: StatusView) -> RenderableType:
    """Return the fleet in numbers, what is bad in colour."""
    grid, service = Table.grid(padding=(0, 2)), view.service
    if view.store_failure:
        grid.add_row("store", Text(f"does not answer: {view.store_failure}", style="red"))
    else:
        grid.add_row("store", service.store or "answers")
    for condition, number in view.computes.items():
        style = _STYLES.get(condition, "") if number else "dim"
        grid.add_row(_words(condition), Text(str(number), style=style))
    grid.add_row("behind", _behind(view))
    if view.nodes or view.nodes_bad:
        bad = Text(f", {view.nodes_bad} with trouble", style="red") if view.nodes_bad else ""
        grid.add_row("nodes", Text(str(view.nodes)).append(bad))
    grid.add_row("held requests", str(view.held_requests))
    if view.pending_hooks:
        held = f"{view.pending_hooks}, the oldest for {_age(view.oldest_hook_since, view.at)}"
        grid.add_row("held hooks", Text(held, style="yellow"))
    if service.storage_controller:
        grid.add_row("storage controller", service.storage_controller)
        grid.add_row("evidence", f"{service.evidence}, quorum {service.quorum}")
    grid.add_row("running for", _age(view.started_at, view.at))
    grid.add_row("version", service.version)
    return grid


def _behind(view: StatusView) -> Text:
    if not view.behind:
        return Text("0", style="green" if view.total else "")
    longest = f", the longest for {_age(view.oldest_behind_since, view.at)}"
    return Text(f"{view.behind}{longest if view.oldest_behind_since else ''}", style="red")


def computes(view: ComputesView) -> RenderableType:
    """Return computes as a table, and how many there are."""
    more = view.total - len(view.computes)
    rest = Text(f"{view.total} computes, {more} not shown" if more else f"{view.total} computes")
    columns = ("compute", "condition", "since", "published", "applied", "heard", "why")
    return Group(_table(None, columns, (_compute(row, view.at) for row in view.computes)), rest)


def _compute(row: ComputeRow, now: datetime) -> tuple[Any, ...]:
    return (
        row.id,
        _condition(row.condition),
        _age(row.since, now),
        row.published or None,
        row.applied,
        _age(row.heard_at, now),
        row.why,
    )


def compute(view: ComputeView) -> RenderableType:
    """Return everything that is known of a compute."""
    now, row, report = view.at, view.row, view.report
    grid = Table.grid(padding=(0, 2))
    grid.add_row("compute", row.id)
    lasting = f" for {_age(row.since, now)}" if row.since else ""
    grid.add_row("condition", _condition(row.condition).append(lasting))
    for name, value in (*_facts(view), *(_reported(report) if report else ())):
        if value:
            grid.add_row(name, Text(str(value)))
    parts: list[RenderableType] = [grid, _documents(view)]
    if report and report.suspicions:
        rows = (_suspicion(one, now) for one in report.suspicions)
        parts.append(_table("suspicions", ("server", "trouble", "for", "times", "text"), rows))
    if view.shards:
        shards = ((s.shard, s.node_id, s.endpoint, s.availability) for s in view.shards)
        title = f"pageservers, by {view.placement_source}"
        parts.append(_table(title, ("shard", "node", "endpoint", "state"), shards))
    if view.timeline:
        parts.append(_events("timeline", view.timeline, now))
    return Group(*parts)


def _facts(view: ComputeView) -> Iterator[tuple[str, object]]:
    row, now = view.row, view.at
    yield "why", row.why
    yield "tenant", row.tenant_id
    yield "timeline", view.timeline_id
    heard = f"{_age(row.heard_at, now)} ago" if row.heard_at else "not since the start"
    yield "last heard of", heard
    yield "requests held", view.held_requests
    yield "pushed to", view.push_url
    yield "push", view.push_error


def _reported(report: ReportView) -> Iterator[tuple[str, object]]:
    yield "daemon", f"{report.daemon} {report.version}".strip()
    yield "status", report.status
    yield "last outcome", report.outcome
    yield "reason", report.reason
    yield "waits for a restart", ", ".join(report.pending_restart)


def _documents(view: ComputeView) -> Table:
    published = ReportedDocument(generation=view.row.published, hash=view.content_sha256)
    report = view.report
    rows = [
        _document("published", published if published.generation else None, view.published_at, view)
    ]
    if report is not None:
        rows.append(_document("desired", report.desired, report.at, view))
        rows.append(_document("applied", report.applied, report.at, view))
    if view.pushed_generation:
        rows.append(("pushed", view.pushed_generation, None, None, None))
    return _table("document", ("", "generation", "ago", "proof", "content"), rows)


def _document(
    name: str, one: ReportedDocument | None, at: datetime | None, view: ComputeView
) -> tuple[Any, ...]:
    if one is None:
        return (name, None, None, None, None)
    return (name, one.generation, _age(at, view.at), one.proof, one.hash[:_SHORT_HASH])


def _suspicion(one: SuspicionRow, now: datetime) -> tuple[Any, ...]:
    shard = f" shard {one.shard}" if one.shard is not None else ""
    node = f" (node {one.node_id})" if one.node_id is not None else ""
    server = f"{one.source}{shard} {one.endpoint or ''}{node}"
    trouble = Text(f"{one.trouble} {one.sqlstate}".strip(), style="red")
    return (server, trouble, _age(one.since, now), one.count, one.text)


def nodes(view: NodesView) -> RenderableType:
    """Return nodes as a table."""
    columns = ("node", "endpoint", "state", "zone", "used by", "suspected by", "verdict")
    return _table(None, columns, (_node(row, view.at) for row in view.nodes))


def _node(row: NodeRow, now: datetime) -> tuple[Any, ...]:
    state = row.availability or "not listed"
    if row.scheduling not in ("", "Active"):
        state += f", {row.scheduling}"
    up = row.id is None or row.availability == "Active"
    return (
        row.id,
        row.endpoint,
        Text(state, style="" if up else "red"),
        row.availability_zone_id,
        row.users,
        Text(_suspects(row, now), style="red") if row.suspects else None,
        f"{row.verdict.state} {_age(row.verdict.at, now)} ago" if row.verdict else None,
    )


def _suspects(row: NodeRow, now: datetime) -> str:
    names = ", ".join(row.suspected_by[:_NAMED]) + (", …" if row.suspects > _NAMED else "")
    since = f" for {_age(row.suspected_since, now)}" if row.suspected_since else ""
    return f"{', '.join(row.troubles)}: {row.suspects}{since} ({names})"


def verdicts(view: VerdictsView) -> RenderableType:
    """Return verdicts as a table."""
    columns = ("ago", "node", "state", "suspected by", "users", "probes", "why")
    return _table(None, columns, (_verdict(one, view.at) for one in view.verdicts))


def _verdict(one: Verdict, now: datetime) -> tuple[Any, ...]:
    bad = one.state in (VerdictState.FAILED, VerdictState.FALSE_ALARM)
    names = ", ".join(one.suspected_by[:_NAMED])
    more = ", …" if len(one.suspected_by) > _NAMED else ""
    return (
        _age(one.at, now),
        one.node_id,
        Text(one.state.value, style="red" if bad else ""),
        f"{names}{more}",
        one.users,
        "; ".join(one.probes),
        one.reason,
    )


def history(view: HistoryView) -> RenderableType:
    """Return events as a table."""
    return _events(None, view.events, view.at)


def _events(title: str | None, events: Iterable[HistoryEvent], now: datetime) -> Table:
    rows = (
        (f"{one.at:%Y-%m-%d %H:%M:%S}", _age(one.at, now), one.kind, _about(one), one.text)
        for one in events
    )
    return _table(title, ("when (UTC)", "ago", "event", "about", "what"), rows)


def _about(one: HistoryEvent) -> str | None:
    if one.node_id is not None and one.compute_id is None:
        return f"node {one.node_id}"
    return one.compute_id or one.tenant_id


def _age(at: datetime | None, now: datetime) -> str:
    return "" if at is None else duration((now - at).total_seconds())


def _words(condition: Condition) -> str:
    return condition.value.replace("_", " ")


def _condition(condition: Condition) -> Text:
    return Text(_words(condition), style=_STYLES.get(condition, ""))


def _table(title: str | None, columns: tuple[str, ...], rows: Iterable[tuple[Any, ...]]) -> Table:
    return tables.table(title, columns, rows, long=_LONG)
