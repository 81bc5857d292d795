"""Pieces that both pages are made of: tables, times, conditions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final
from urllib.parse import quote

from control_plane.decisions.fleet import Condition
from control_plane.decisions.model import HistoryEvent
from control_plane.decisions.overview import BEHIND
from control_plane.decisions.views import ComputeRow
from control_plane.http.html import Content, Markup, join, tag

_SHORT_ID: Final = 8
_LONG_ID: Final = 24


def words(condition: Condition) -> str:
    """Return a condition as people read it."""
    return condition.value.replace("_", " ")


def style(condition: Condition) -> str:
    """Return the class of a condition."""
    if condition is Condition.APPLYING:
        return "busy"
    return "bad" if condition in BEHIND else "good" if condition is Condition.IN_SYNC else "quiet"


def compute_link(compute_id: str) -> Markup:
    """Return the name of a compute that leads to its page."""
    return tag("a", tag("code", compute_id), href=f"/computes/{quote(compute_id, safe='')}")


def identifier(text: str | None) -> Markup | None:
    """Return an identifier, cut if it is long; its whole text is shown on hovering."""
    if not text:
        return None
    shown = text if len(text) <= _LONG_ID else text[:_SHORT_ID] + "…"
    return tag("code", shown, title=text)


def lasting(seconds: float) -> str:
    """Return a duration in its largest useful unit."""
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"


def age(at: datetime | None, now: datetime) -> Markup | None:
    """Return how long ago something was."""
    if at is None:
        return None
    exact = at.isoformat(timespec="milliseconds")
    return tag("time", lasting((now - at).total_seconds()), datetime=exact, title=exact)


def cell(*content: Content, kind: str = "", label: str | None = None) -> Markup:
    """Return a cell; *label* stands before it where the table has no heading (narrow screens)."""
    text = join(*content)
    return tag("td", text, class_=kind or None, data_label=label if text else None)


def table(columns: Sequence[str], rows: Iterable[Sequence[Markup]]) -> Markup:
    """Return a table; a column whose name begins with ``#`` is one of numbers."""
    head = (
        tag("th", name.removeprefix("#"), class_="number" if name.startswith("#") else None)
        for name in columns
    )
    body = (tag("tr", *row) for row in rows)
    return tag("table", tag("thead", tag("tr", *head)), tag("tbody", *body))


def section(title: str, *content: Content, note: Content = None, name: str = "") -> Markup:
    """Return a section with its heading."""
    small = tag("small", note) if note is not None else None
    return tag("section", tag("h2", title, " ", small), *content, id=name or None)


def compute_table(rows: Iterable[ComputeRow], now: datetime) -> Markup:
    """Return computes as a table."""
    return table(
        ("compute", "condition", "#since", "#published", "#applied", "why", "tenant", "#heard"),
        (
            (
                cell(compute_link(row.id), kind="name"),
                cell(words(row.condition), kind=f"short {style(row.condition)}"),
                cell(age(row.since, now), kind="number"),
                cell(row.published or None, kind="number", label="published"),
                cell(row.applied, kind="number", label="applied"),
                cell(row.why, kind="wide rest"),
                cell(identifier(row.tenant_id), kind="minor", label="tenant"),
                cell(age(row.heard_at, now), kind="number", label="heard"),
            )
            for row in rows
        ),
    )


def history_table(events: Iterable[HistoryEvent], now: datetime, *, named: bool = True) -> Markup:
    """Return events as a table; *named*: with what each is about."""
    return table(
        ("#ago", "event", *(("about",) if named else ()), ""),
        (
            (
                cell(age(event.at, now), kind="number"),
                cell(event.kind, kind="short"),
                *((cell(_about(event)),) if named else ()),
                cell(event.text, kind="wide rest"),
            )
            for event in events
        ),
    )


def _about(event: HistoryEvent) -> Markup | None:
    if event.compute_id is not None:
        return compute_link(event.compute_id)
    if event.node_id is not None:
        return join("node ", event.node_id)
    return identifier(event.tenant_id)
