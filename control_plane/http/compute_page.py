"""The page of one compute, and the page for a name that is not there."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from control_plane.decisions.model import ReportedDocument
from control_plane.decisions.views import ComputeView, ReportView, ShardRow, SuspicionRow
from control_plane.http.html import Content, Markup, join, tag
from control_plane.http.page_frame import document
from control_plane.http.page_parts import (
    age,
    cell,
    history_table,
    identifier,
    section,
    style,
    table,
    words,
)


def compute_page(view: ComputeView) -> str:
    """Return the page of a compute."""
    row, now, report = view.row, view.at, view.report
    suspicions = report.suspicions if report else ()
    facts = tag("div", _documents(view), _suspicions(suspicions, now), _shards(view))
    timeline = section(
        "timeline",
        history_table(view.timeline, now, named=False) if view.timeline else None,
        note="what happened to it and to its tenant, newest first" if view.timeline else "empty",
    )
    return document(
        _headline(view),
        tag("div", facts, tag("div", _facts(view), timeline), class_="columns"),
        title=f"{row.id}: {words(row.condition)}",
    )


def missing_page(text: str) -> str:
    """Return a page that says what is not there."""
    return document(tag("p", text, class_="failure"), title=text, refreshes=False)


def _headline(view: ComputeView) -> Markup:
    row = view.row
    state = tag("span", words(row.condition), class_=style(row.condition))
    since = join(" for ", age(row.since, view.at)) if row.since else None
    why = tag("p", row.why, class_=style(row.condition)) if row.why else None
    return join(tag("p", tag("code", row.id), " · ", state, since, class_="headline"), why)


def _documents(view: ComputeView) -> Markup:
    published = ReportedDocument(generation=view.row.published, hash=view.content_sha256)
    report, now = view.report, view.at
    said = age(report.at, now) if report else None
    pushed = view.pushed_generation
    rows = [
        _document("published", published if published.generation else None,
                  age(view.published_at, now)),
        _document("desired", report.desired if report else None, said),
        _document("applied", report.applied if report else None, said),
    ]  # fmt: skip
    if view.push_url:
        taken = ReportedDocument(generation=pushed) if pushed else None
        rows.append(_document("pushed", taken, None))
    return section(
        "document",
        table(("", "#generation", "#ago", "proof", "content"), rows),
        note="the last report says what it desires and has applied",
    )


def _document(name: str, one: ReportedDocument | None, since: Markup | None) -> tuple[Markup, ...]:
    if one is None:
        return (cell(name, kind="name"), cell("none", kind="number quiet"), *[cell()] * 3)
    return (
        cell(name, kind="name"),
        cell(one.generation, kind="number", label="generation"),
        cell(since, kind="number"),
        cell(one.proof, label="proof"),
        cell(identifier(one.hash), kind="rest", label="content"),
    )


def _suspicions(suspicions: tuple[SuspicionRow, ...], now: datetime) -> Markup | None:
    if not suspicions:
        return None
    rows = (
        (
            cell(_server(one), kind="name short"),
            cell(" ".join(filter(None, (one.trouble, one.sqlstate))), kind="short bad"),
            cell(age(one.since, now), kind="number"),
            cell(one.count, kind="number", label="times"),
            cell(one.text, kind="wide rest"),
        )
        for one in suspicions
    )
    columns = ("server", "trouble", "#for", "#times", "text")
    return section("suspicions", table(columns, rows), name="suspicions")


def _server(one: SuspicionRow) -> Markup:
    shard = f" shard {one.shard}" if one.shard is not None else ""
    node = f" (node {one.node_id})" if one.node_id is not None else ""
    return join(one.source, shard, " ", tag("code", one.endpoint) if one.endpoint else None, node)


def _shards(view: ComputeView) -> Markup | None:
    if not view.shards:
        return None
    stripes = f"stripes of {view.stripe_size} pages, " if view.stripe_size else ""
    note = f"{stripes}by {view.placement_source}" if view.placement_source else stripes
    rows = map(_shard, view.shards)
    return section("pageservers", table(("#shard", "node", "endpoint", "state"), rows), note=note)


def _shard(one: ShardRow) -> tuple[Markup, ...]:
    good = one.availability == "Active"
    return (
        cell(one.shard, kind="number", label="shard"),
        cell(one.node_id, label="node"),
        cell(tag("code", one.endpoint) if one.endpoint else None),
        cell(one.availability or "not in the node list", kind="rest" if good else "rest bad"),
    )


def _facts(view: ComputeView) -> Markup:
    pairs = (*_identity(view), *(_reported(view.report) if view.report else ()))
    shown = (
        join(tag("dt", name), tag("dd", *content))
        for name, *content in pairs
        if any(part is not None and part != "" for part in content)
    )
    return section("compute", tag("dl", *shown))


def _identity(view: ComputeView) -> Iterator[tuple[str, *tuple[Content, ...]]]:
    row, now = view.row, view.at
    heard = age(row.heard_at, now)
    yield "tenant", tag("code", row.tenant_id) if row.tenant_id else None
    yield "timeline", tag("code", view.timeline_id) if view.timeline_id else None
    yield "last heard of", join(heard, " ago") if heard else "not since the control plane started"
    yield "requests held", view.held_requests or None
    yield "pushed to", tag("code", view.push_url) if view.push_url else None
    yield "push", tag("span", view.push_error, class_="bad") if view.push_error else None


def _reported(report: ReportView) -> Iterator[tuple[str, *tuple[Content, ...]]]:
    yield "daemon", f"{report.daemon} {report.version}".strip()
    yield "status", report.status
    yield "last outcome", report.outcome
    yield "reason", report.reason
    yield "waits for a restart", ", ".join(report.pending_restart)
