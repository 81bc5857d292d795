"""The page for people: one screen for the fleet, bad numbers and laggards first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Final
from urllib.parse import urlencode

from control_plane.decisions.fleet import Condition
from control_plane.decisions.model import Verdict, VerdictState
from control_plane.decisions.overview import BEHIND
from control_plane.decisions.views import (
    ComputesView,
    FleetView,
    HooksView,
    NodeRow,
    NodesView,
    StatusView,
)
from control_plane.http.html import Content, Markup, join, tag
from control_plane.http.page_frame import document
from control_plane.http.page_parts import (
    age,
    cell,
    compute_link,
    compute_table,
    history_table,
    identifier,
    section,
    style,
    table,
    words,
)

_CONDITIONS: Final = (
    Condition.REFUSED,
    Condition.APPLYING,
    Condition.INCOMPLETE,
    Condition.IN_SYNC,
    Condition.SILENT,
    Condition.UNKNOWN,
)
_NAMED: Final = 3
"""So many of those who suspect a node, or hold up a hook, are named."""


def fleet_page(view: FleetView) -> str:
    """Return the page of the whole fleet."""
    status, now = view.status, view.status.at
    searched = bool(view.computes.query or view.computes.condition)
    found = _computes(view.computes, status.total)
    history = section("history", history_table(view.history, now)) if view.history else None
    doings = tag("div", _hooks(view.hooks, now), _verdicts(view.verdicts, now))
    return document(
        _facts(status),
        _counts(status, view.computes.condition),
        found if searched else None,
        _laggards(view.laggards, status),
        _nodes(view.nodes),
        tag("div", doings, history, class_="columns"),
        None if searched else found,
        title=_title(status),
        query=view.computes.query,
    )


def _title(status: StatusView) -> str:
    troubles = (
        "store does not answer" if status.store_failure else "",
        f"{status.behind} behind" if status.behind else "",
        f"{status.nodes_bad} node{'s' * (status.nodes_bad > 1)} bad" if status.nodes_bad else "",
    )
    return " · ".join((*filter(None, troubles), "compute control plane"))


def _facts(status: StatusView) -> Markup:
    service = status.service
    failure = f"the store does not answer: {status.store_failure}"
    controller = service.storage_controller
    main = (
        join("as of ", tag("time", f"{status.at:%H:%M:%S} UTC")),
        join("up ", age(status.started_at, status.at)),
        f"evidence: {service.evidence}, quorum {service.quorum}" if controller else None,
        f"{status.held_requests} requests held",
    )
    minor = (
        f"storage controller {controller}" if controller else None,
        f"store {service.store}" if service.store else None,
    )
    return join(
        tag("p", failure, class_="failure") if status.store_failure else None,
        tag("p", *_spans(main), *_spans(minor, kind="minor"), class_="facts"),
    )


def _spans(texts: Iterable[Content], *, kind: str | None = None) -> Iterator[Markup]:
    return (tag("span", text, class_=kind) for text in texts if text is not None)


def _counts(status: StatusView, wanted: Condition | None) -> Markup:
    tiles = [_condition_tile(status, one, wanted) for one in _CONDITIONS]
    if status.nodes or status.nodes_bad:
        bad = min(status.nodes_bad, status.nodes)
        kind = "bad" if status.nodes_bad else None
        text = f"{status.nodes - bad}/{status.nodes}" if bad else status.nodes
        tiles.append(_tile(text, "nodes", kind=kind, link="#nodes"))
        kind = "busy" if status.pending_hooks else "zero"
        tiles.append(_tile(status.pending_hooks, "hooks held", kind=kind, link="#hooks"))
    return tag("ul", *tiles, class_="counts")


def _condition_tile(status: StatusView, one: Condition, wanted: Condition | None) -> Markup:
    number = status.computes.get(one, 0)
    kind = "zero" if not number else style(one) if style(one) in ("bad", "busy") else None
    link = "/" if one is wanted else "/?" + urlencode({"condition": one.value})
    return _tile(number, words(one), kind=kind, link=link, chosen=one is wanted)


def _tile(
    number: Content, text: str, *, kind: str | None, link: str, chosen: bool = False
) -> Markup:
    inner = tag("a", tag("b", number), text, href=link, aria_current="true" if chosen else None)
    return tag("li", inner, class_=kind)


def _laggards(view: ComputesView, status: StatusView) -> Markup:
    if not view.total:
        note = "every compute alive runs with what is published" if status.total else None
        return section("behind", note=note or "there are no computes yet", name="behind")
    more = view.total - len(view.computes)
    return section(
        "behind",
        compute_table(view.computes, view.at),
        tag("p", f"and {more} more", class_="quiet") if more else None,
        note=f"{view.total} of {status.total}, longest first",
        name="behind",
    )


def _computes(view: ComputesView, total: int) -> Markup:
    what = " ".join(filter(None, (view.condition and words(view.condition), view.query)))
    note = f"{view.total} of {total}" if what else f"{view.total}"
    if view.total > len(view.computes):
        note += f", the first {len(view.computes)} are shown: search for others"
    title = f"computes: {what}" if what else "computes"
    rows = [row for row in view.computes if what or row.condition not in BEHIND]  # shown above
    listed = compute_table(rows, view.at) if rows else None
    return section(title, listed, note=note, name="computes")


def _nodes(view: NodesView) -> Markup | None:
    if not view.nodes:
        return None
    columns = ("node", "state", "#used by", "suspected by", "verdict")
    rows = (_node(row, view.at) for row in view.nodes)
    return section("nodes", table(columns, rows), name="nodes")


def _node(row: NodeRow, now: datetime) -> tuple[Markup, ...]:
    name = tag("b", row.id, " ") if row.id is not None else None
    state = row.availability or "not listed"
    if row.scheduling not in ("", "Active"):
        state += f", {row.scheduling}"
    good = row.availability == "Active" or row.id is None
    zone = tag("span", " ", row.availability_zone_id, class_="quiet")
    return (
        cell(
            name,
            tag("code", row.endpoint),
            zone if row.availability_zone_id else None,
            kind="short",
        ),
        cell(state, kind="short" if good else "short bad"),
        cell(row.users, kind="number", label="used by"),
        cell(*_suspects(row, now), kind="wide rest bad" if row.suspects else "wide rest"),
        cell(_verdict(row.verdict, now) if row.verdict else None, kind="wide some"),
    )


def _suspects(row: NodeRow, now: datetime) -> Iterator[Content]:
    if not row.suspects:
        return
    plural = "s" if row.suspects > 1 else ""
    yield f"{', '.join(row.troubles)}: {row.suspects} compute{plural} "
    if row.suspected_since is not None:
        yield join("for ", age(row.suspected_since, now), " ")
    yield join("(", *_names(row.suspected_by, row.suspects), ")")


def _verdict(verdict: Verdict, now: datetime) -> Markup:
    why = f": {verdict.reason}" if verdict.reason else ""
    return join("down, ", verdict.state.value, " ", age(verdict.at, now), " ago", why)


def _hooks(view: HooksView, now: datetime) -> Markup | None:
    if not view.total:
        return None
    rows = (
        (
            cell(hook.kind, kind="short"),
            cell(identifier(hook.tenant_id)),
            cell(age(hook.since, now), kind="number busy"),
            cell(*_names(hook.waits_for, len(hook.waits_for) + hook.others), kind="wide rest"),
        )
        for hook in view.first
    )
    more = view.total - len(view.first)
    return section(
        "held hooks",
        table(("hook", "tenant", "#for", "waits for"), rows),
        tag("p", f"and {more} more", class_="quiet") if more else None,
        note="the storage controller waits for these answers",
        name="hooks",
    )


def _names(names: tuple[str, ...], total: int) -> Iterator[Content]:
    for number, compute_id in enumerate(names[:_NAMED]):
        yield join(", " if number else None, compute_link(compute_id))
    if total > _NAMED:
        yield f" and {total - _NAMED} more"


def _verdicts(verdicts: tuple[Verdict, ...], now: datetime) -> Markup | None:
    if not verdicts:
        return None
    rows = (
        (
            cell(age(one.at, now), kind="number"),
            cell("node ", one.node_id, kind="short"),
            cell(
                one.state.value, kind="short bad" if one.state is VerdictState.FAILED else "short"
            ),
            cell(f"{len(one.suspected_by)} of {one.users} users suspect it", kind="short"),
            cell(
                "; ".join(dict.fromkeys(filter(None, (one.reason, *one.probes)))), kind="wide rest"
            ),
        )
        for one in verdicts
    )
    return section("verdicts", table(("#ago", "node", "state", "evidence", "why"), rows))
