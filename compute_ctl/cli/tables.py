"""What the commands show as tables; loads rich, so imported when a command prints one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from msgspec import UNSET
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from compute_common.cli import tables
from compute_common.cli.output import duration, lasting, time_since, time_until
from compute_common.cli.tables import cell
from compute_ctl.cli import hints
from compute_ctl.cli.local import Invocation
from compute_ctl.cli.setting import Explanation
from compute_ctl.decisions.lsn_lease import LeaseStatus
from compute_ctl.decisions.model import GOOD_OUTCOMES, Attempt, Suspicion
from compute_ctl.decisions.proof import Proof
from compute_ctl.decisions.sql_report import PendingRestart
from compute_ctl.decisions.status import (
    ConfigView,
    DriftView,
    PostgresView,
    RefreshBody,
    RefreshView,
    StatusBody,
)

_GOOD: Final = frozenset({"running", "applied", "unchanged"})
_BAD: Final = frozenset({"failed", "rejected", "fetch_failed", "write_failed", "blocked"})
_LONG: Final = frozenset({"reason", "runs with", "wanted", "where", "value", "version", ""})
"""Columns that may wrap."""
_NO_LIBRARY: Final = "neon_refresh is not loaded: postgres does not ask by itself"
_SHORT_HASH: Final = 12
_OUTCOME_COLUMN: Final = 3


def status(
    body: StatusBody,
    *,
    address: str,
    now: datetime | None = None,
    invocation: Invocation | None = None,
) -> RenderableType:
    """Return the whole status as tables; *invocation* completes the commands in hints."""
    invocation = invocation or Invocation()
    now = now or datetime.now(UTC)
    parts: list[RenderableType] = [
        _summary(body, address, now, invocation),
        generations(body.config, now),
    ]
    postgres = body.postgres
    if postgres.pending_restart:
        rows = ((one.name, one.old, one.new, _place(one)) for one in postgres.pending_restart)
        parts.append(
            _table("waits for a restart", ("setting", "runs with", "wanted", "where"), rows)
        )
    if postgres.drift:
        drift = ((one.name, one.reason, _place(one)) for one in postgres.drift)
        parts.append(_table("overridden by something else", ("setting", "reason", "where"), drift))
    if body.config.quarantined:
        refused = (
            (_hash(one.sha256), one.version, time_since(one.at, now), one.reason)
            for one in body.config.quarantined
        )
        parts.append(_table("quarantined", ("document", "version", "since", "reason"), refused))
    return Group(*parts)


def _summary(body: StatusBody, address: str, now: datetime, invocation: Invocation) -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_row("status", _coloured(body.status).append(lasting(body.status_since, now)))
    grid.add_row("in sync", _in_sync(body.config))
    if body.error:
        since = lasting(body.error_since, now).strip()
        grid.add_row("error", Text(f"{since}: {body.error}".removeprefix(": "), style="red"))
    _add_postgres(grid, body.postgres, now)
    if body.cluster is not None:
        grid.add_row("cluster", Text(body.cluster.summary))
    for closed in body.closed_ports:
        grid.add_row("port", Text(f"{closed}; the daemon goes on trying", style="red"))
    promotion = body.promotion.summary if body.promotion is not None else ""
    said = {"not kept": body.config.not_kept, "report": body.report.error, "promotion": promotion}
    for what, text in said.items():
        if text:
            grid.add_row(what, Text(text, style="yellow"))
    for warning in body.config.warnings:
        grid.add_row("warning", Text(warning, style="yellow"))
    if body.last_active:
        grid.add_row("last active", time_since(datetime.fromisoformat(body.last_active), now))
    if body.tenant:
        grid.add_row("tenant", f"{body.tenant} timeline {body.timeline}")
    _add_refresh(grid, body.refresh, now, error=body.error)
    grid.add_row("asked at", address)
    for hint in hints.status_hints(body):
        grid.add_row("hint", Text(invocation.complete(hint), style="bold"))
    return grid


def _add_postgres(grid: Table, postgres: PostgresView, now: datetime) -> None:
    grid.add_row("postgres", _server(postgres, now))
    if postgres.silent_since:
        silent = f"answers nothing{lasting(postgres.silent_since, now)}: "
        grid.add_row("sql", Text(silent + (postgres.silent_because or ""), style="red"))
    if postgres.library_loaded is False:
        grid.add_row("library", Text(_NO_LIBRARY, style="yellow"))
    if postgres.drift:
        names = ", ".join(str(one.name) for one in postgres.drift)
        drift = f"{names} overridden{lasting(postgres.drift_since, now)}, see below"
        grid.add_row("drift", Text(drift, style="yellow"))
    if postgres.catalog_error:
        grid.add_row("catalog", Text(postgres.catalog_error, style="red"))
    if postgres.lease:
        grid.add_row("lease", _lease(postgres.lease, now))


def _lease(lease: LeaseStatus, now: datetime) -> Text:
    held = f"ends {time_until(lease.valid_until, now)}" if lease.valid_until else "none"
    text = Text(f"of {lease.lsn}: {held}")
    return text.append(f" ({lease.error})", style="red") if lease.error else text


def _add_refresh(grid: Table, refresh: RefreshView, now: datetime, *, error: str | None) -> None:
    if refresh.suspected_since:
        grid.add_row("suspected", lasting(refresh.suspected_since, now).strip())
    if refresh.suspicion:
        grid.add_row("suspicion", Text(_suspicion(refresh.suspicion)))
    if refresh.last_attempt:
        grid.add_row("last attempt", _attempt(refresh.last_attempt, now, known=error))
    if refresh.next_attempt_at:
        grid.add_row("next attempt", time_until(refresh.next_attempt_at, now))


def _in_sync(config: ConfigView) -> str:
    if not config.in_sync:
        return f"no: {hints.out_of_sync_reason(config)}"
    if config.proof is Proof.UPSTREAM:
        return "yes, as far as the servers go: SQL has not answered since"
    return "yes"


def _server(postgres: PostgresView, now: datetime) -> str:
    version = f"version {postgres.version}, " if postgres.version else ""
    since = lasting(postgres.since, now)
    if not postgres.pid:
        return f"{version}not running{since}"
    ready = "accepts connections" if postgres.ready else "does not accept connections"
    return f"{version}{ready}{since}, pid {postgres.pid}"


def generations(config: ConfigView, now: datetime | None = None) -> Table:
    """Return desired, applied, started and last known good."""
    now = now or datetime.now(UTC)
    facts = {
        "desired": config.desired,
        "applied": config.applied,
        "started": config.started,
        "last known good": config.last_known_good,
    }
    rows = (
        (name, "-", "-", "-", "-")
        if one is None
        else (name, one.generation, _hash(one.sha256), one.version, time_since(one.at, now))
        for name, one in facts.items()
    )
    return _table("configuration", ("", "generation", "document", "version", "since"), rows)


def refresh(body: RefreshBody) -> RenderableType:
    """Return the outcome of a refresh, or the ID of its request where nobody waited for it."""
    if body.outcome is UNSET:
        shared = ", shared with an earlier one" if body.coalesced else ""
        return Text(f"request {body.refresh_id} is recorded{shared}; status {body.status}")
    text = Text("outcome: ").append(_coloured(body.outcome))
    if body.in_sync is False and body.outcome in GOOD_OUTCOMES:
        text.append(", but not in sync", style="red")
    return text.append(f" ({body.reason})") if body.reason else text


def history(entries: Iterable[Mapping[str, Any]]) -> RenderableType:
    """Return past attempts and work on the catalog, oldest first; each reason below its row.

    Nothing is cut off: long lines wrap.
    """
    rows = [
        (
            str(one.get("started_at", ""))[:19].replace("T", " "),
            cell(one.get("number") or one.get("kind")),
            cell(one.get("who")),
            str(one.get("outcome", "")),
            cell(one.get("generation")),
            _took(float(one.get("duration_ms") or 0)),
            str(one.get("reason") or ""),
        )
        for one in entries
    ]
    names = ("when (UTC)", "attempt", "who", "outcome", "gen", "took")
    widths = [max(len(row[column]) for row in (names, *rows)) for column in range(len(names))]
    parts: list[RenderableType] = [_row(names, widths, header=True)]
    for *cells, reason in rows:
        parts.append(_row(cells, widths))
        if reason:
            parts.append(Padding(Text(reason, overflow="fold"), (0, 0, 0, 4)))
    return Group(*parts)


def _took(milliseconds: float) -> str:
    return f"{milliseconds:.1f} ms" if milliseconds < 10_000 else duration(milliseconds / 1000)


def _row(cells: Sequence[str], widths: Sequence[int], *, header: bool = False) -> Text:
    """Return one line of aligned *cells*; the outcome is coloured."""
    line = Text(overflow="fold")
    for column, (one, width) in enumerate(zip(cells, widths, strict=True)):
        line.append("  " if column else "")
        text = Text(one, style="bold" if header else "")
        line.append(_coloured(one) if column == _OUTCOME_COLUMN and not header else text)
        line.append(" " * (width - len(one)))
    line.rstrip()
    return line


def explanation(found: Explanation) -> RenderableType:
    """Return a setting as a table."""
    grid = Table.grid(padding=(0, 2))
    grid.add_row("setting", found.name)
    grid.add_row("value", Text(cell(found.value)))
    grid.add_row("default", Text(cell(found.default)))
    grid.add_row("set by", found.owner)
    if found.file:
        grid.add_row("at", f"{found.file}:{found.line}")
    grid.add_row("changes by", found.changes_by)
    if found.pending_restart:
        grid.add_row("waits", Text("a new value waits for a restart", style="yellow"))
    parts: list[RenderableType] = [grid]
    if found.lines:
        lines = (
            (
                f"{one.file}:{one.line}",
                one.value,
                one.owner,
                one.error or ("in force" if one.applied else "overridden"),
            )
            for one in found.lines
        )
        parts.append(_table("in the files", ("where", "value", "owner", ""), lines))
    if found.overrides:
        overrides = (
            (one.role or "all", one.database or "all", one.value) for one in found.overrides
        )
        parts.append(_table("for some sessions", ("role", "database", "value"), overrides))
    return Group(*parts)


def coloured_diff(text: str) -> RenderableType:
    """Return a unified difference with the usual colours."""
    styles = {"+": "green", "-": "red", "@": "cyan"}
    whole = Text()
    for line in text.splitlines(keepends=True):
        whole.append(line, style=styles.get(line[:1], ""))
    whole.right_crop(1)
    return whole


def _table(title: str | None, columns: tuple[str, ...], rows: Iterable[tuple[Any, ...]]) -> Table:
    return tables.table(title, columns, rows, long=_LONG)


def _coloured(word: str) -> Text:
    style = "green" if word in _GOOD else "red" if word in _BAD else "yellow"
    return Text(word, style=style)


def _attempt(attempt: Attempt, now: datetime, *, known: str | None) -> Text:
    """Return how an attempt ended; its reason is left out where it is *known*."""
    text = Text(f"{time_since(attempt.finished_at, now)}, for {attempt.who}: ")
    text.append(_coloured(attempt.outcome))
    text.append(f" in {attempt.duration_ms:.1f} ms")
    return text if attempt.reason in ("", known) else text.append(f" ({attempt.reason})")


def _suspicion(one: Suspicion) -> str:
    shard = f" shard {one.shard}" if one.shard is not None else ""
    state = f" {one.sqlstate}" if one.sqlstate else ""
    times = f", {one.count} times" if one.count > 1 else ""
    return f"{one.source}{shard} {one.trouble}{state}{times}: {one.text}"


def _place(one: PendingRestart | DriftView) -> str:
    return f"{one.file}:{one.line}" if one.file else "-"


def _hash(sha256: str) -> str:
    return sha256[:_SHORT_HASH]
