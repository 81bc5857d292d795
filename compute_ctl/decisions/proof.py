"""The verdict on a generation, from what Postgres says about it. Pure.

A bad setting, one that waits for a restart, one that a later source overrides and an error in
somebody else's file look alike in `pg_file_settings`; `judge` tells them apart. The order of the
queries that fill a `SqlReport` matters: see `sql.probe`.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Final

from compute_ctl.decisions.sql_report import FileSetting, PendingRestart, SqlReport, differs
from compute_ctl.document.generation import MARKER_SETTING
from compute_ctl.document.spec_sources import UPSTREAM_SETTINGS

_BY_COMMAND_LINE: Final = "overridden by the server's command line (-c, pg_ctl -o)"


class Proof(StrEnum):
    """How much is proven."""

    FULL = "full"
    """Postgres runs the generation and none of its settings is in error."""
    UPSTREAM = "upstream"
    """The worker acknowledged marker and shard map; no new session has answered."""
    NONE = "none"


@dataclass(frozen=True, kw_only=True, slots=True)
class Complaint:
    """One thing wrong with a setting."""

    name: str | None
    """The setting, None for a syntax error or the like."""
    reason: str
    file: str | None = None
    line: int | None = None
    unfinished: bool = False
    """Nothing was found wrong, but the check did not end in time."""

    @property
    def said(self) -> str:
        """The reason without the name of the setting."""
        return self.reason.replace(f' for parameter "{self.name}"', "", 1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Ack:
    """What the refresh worker acknowledged for a marker."""

    map_matches: bool
    """The published shard map is the one rendered."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What is known of one generation."""

    proof: Proof
    bad: tuple[Complaint, ...] = ()
    """Evidence that Postgres refuses managed settings."""
    blocked: tuple[Complaint, ...] = ()
    """Errors outside our file that keep Postgres from reading it: no fault of the document."""
    shadowed: tuple[Complaint, ...] = ()
    """Managed settings that a later source overrides: drift."""
    lost: bool = False
    """Drift keeps the servers of our file out of force."""
    pending_restart: tuple[PendingRestart, ...] = ()
    """All settings of the server that wait for a restart, whoever changed them."""
    waits: bool = False
    """Something of this generation waits for a restart: it cannot be last known good yet."""
    stale: bool = False
    """The server runs with older values than its files have; a reload is needed."""
    blind: bool = field(default=False, compare=False)
    """No session has answered: nothing but the worker's acknowledgement is known."""

    @property
    def rejected(self) -> bool:
        """Whether there is evidence against the document."""
        return bool(self.bad)

    def seeing(self, seen: Verdict) -> Verdict:
        """Return this, of which no session has answered, with what one has *seen* before."""
        kept = ("shadowed", "lost", "pending_restart", "waits")
        return replace(self, **{name: getattr(seen, name) for name in kept})


@dataclass(frozen=True, kw_only=True, slots=True)
class Included:
    """The files and folders that a generation includes, as absolute paths."""

    paths: frozenset[str] = frozenset()
    new: bool = False
    """None before it included the same: errors in them are its own, later ones are drift."""

    def __contains__(self, file: str) -> bool:
        """Return whether *file* is one of them, or in such a folder."""
        path = posixpath.normpath(file)
        return path in self.paths or posixpath.dirname(path) in self.paths


NOTHING: Final = Included()


def judge(
    report: SqlReport | None,
    ack: Ack | None,
    *,
    our_file: str,
    marker: str,
    swapped_at: datetime,
    names: frozenset[str],
    included: Included = NOTHING,
    lockout: str = "",
) -> Verdict:
    """Return what is proven of the generation whose file ends with *marker*.

    *report*: None if SQL did not answer. *ack*: None if the worker has not acknowledged *marker*.
    *our_file*: its path as Postgres knows it. *swapped_at*: just before it was replaced, by
    Postgres's clock. *names*: its settings, in lower case. *lockout*: why sessions are refused.
    """
    map_matches = ack is not None and ack.map_matches
    if report is None:
        refused = (Complaint(name=None, reason=lockout),) if lockout else ()
        return Verdict(proof=Proof.UPSTREAM if map_matches else Proof.NONE, bad=refused, blind=True)
    files = _Files(report, our_file=our_file, marker=marker, included=included)
    bad = tuple(files.complaints(ours=True))
    blocked = () if files.read else tuple(files.complaints(ours=False))
    drift = files.drift()
    proof = Proof.NONE
    if files.loaded_since(swapped_at, ack) and not (bad or blocked or drift.lost):
        proof = Proof.FULL
    elif map_matches and not any(one.name in UPSTREAM_SETTINGS for one in bad):
        proof = Proof.UPSTREAM
    return Verdict(
        proof=proof,
        bad=bad,
        blocked=blocked,
        shadowed=drift.shadowed,
        lost=drift.lost,
        pending_restart=report.pending_restart,
        waits=any(files.waits_for_us(item, names) for item in report.pending_restart),
        stale=drift.stale,
    )


@dataclass(kw_only=True, slots=True)
class _Drift:
    """Settings of our file that are not in force."""

    shadowed: tuple[Complaint, ...] = ()
    lost: bool = False
    """Settings that name other servers are among them."""
    stale: bool = False
    """A reload would bring some of them into force."""

    def add(self, complaint: Complaint, *, lost: bool) -> None:
        """Add a setting that is not in force."""
        self.shadowed += (complaint,)
        self.lost |= lost


class _Files:
    """The rows of pg_file_settings: what a reload would do."""

    def __init__(
        self, report: SqlReport, *, our_file: str, marker: str, included: Included
    ) -> None:
        self._report, self._marker = report, marker
        # The server may name our file by another path (a link); the marker line gives it away.
        marked = {row.file for row in report.settings if _is_marker(row, marker)}
        self._our_file = our_file
        self._our_files = {posixpath.normpath(our_file), *map(posixpath.normpath, marked)}
        self._included = included
        self.marker_found = bool(marked)
        self.read = any(row.applied for row in report.settings)
        """Some line is applied. An error in a file or an unknown name anywhere prevents all."""
        self._pending = {item.name.lower() for item in report.pending_restart}
        self._winner = {row.name.lower(): row for row in report.settings if row.name}

    def loaded_since(self, swapped_at: datetime, ack: Ack | None) -> bool:
        """Return whether Postgres has read our file after *swapped_at*.

        The load time alone is no proof, since the file may not be included; nor is the marker where
        the library is not loaded, since anybody can set a placeholder.
        """
        report = self._report
        if not self.marker_found or (report.library_loaded and report.marker != self._marker):
            return False
        return report.conf_load_time > swapped_at if ack is None else ack.map_matches

    def ours(self, file: str) -> bool:
        """Return whether *file* is the one the daemon writes."""
        return posixpath.normpath(file) in self._our_files

    def waits_for_us(self, item: PendingRestart, names: frozenset[str]) -> bool:
        """Return whether a restart would bring our file into force; a removed line may be ours."""
        return item.name.lower() in names or item.file is None or self.ours(item.file)

    def complaints(self, *, ours: bool) -> Iterable[Complaint]:
        """Yield errors for which our file is to blame, or others; to need a restart is none."""
        for row in self._report.settings:
            blamed = self.ours(row.file) or (self._included.new and row.file in self._included)
            if row.applied or row.error is None or blamed != ours:
                continue
            if not self._waits(row):
                yield self._error(row)

    def _error(self, row: FileSetting) -> Complaint:
        reason = self._reason(row)
        if row.file in self._included:
            reason = f'{reason} in included file "{row.file}", line {row.line}'
        return Complaint(name=row.name, reason=reason, file=row.file, line=row.line)

    def drift(self) -> _Drift:
        """Return our settings that a new session does not run with."""
        found = _Drift()
        if not self.read:
            return found
        if not self.marker_found:
            reason = f"no configuration file includes {self._our_file}"
            found.add(Complaint(name="include_if_exists", reason=reason), lost=True)
            return found
        for row in self._report.settings:
            name = (row.name or "").lower()
            if row.error and row.file in self._included and not self._waits(row):
                found.add(self._error(row), lost=False)
            if row.name is None or row.error or not self.ours(row.file):
                continue
            winner = self._winner[name]
            if winner is not row and self.ours(winner.file):
                continue  # of two lines in our own file the last counts
            complaint, value = self._complaint(row, winner, name)
            if complaint is not None:
                found.add(complaint, lost=name in UPSTREAM_SETTINGS and value != row.value)
                found.stale |= winner is row and name not in self._report.command_line
        return found

    def _complaint(
        self, row: FileSetting, winner: FileSetting, name: str
    ) -> tuple[Complaint | None, str | None]:
        """Return what overrides our *row*, if anything, and the value that runs instead."""
        running = self._report.running
        if name in self._report.command_line:  # pg_file_settings does not know of it
            fixed = self._report.command_line[name]
            return Complaint(name=row.name, reason=_BY_COMMAND_LINE), fixed
        if winner is not row:
            reason = f"overridden by {winner.file}:{winner.line}"
            value = winner.value
            if running is not None and name in running:
                value = running[name].value
                if not differs(name, row.value, running, ours=self.ours) and value != winner.value:
                    reason += " from the next reload on"
            found = Complaint(name=row.name, reason=reason, file=winner.file, line=winner.line)
            return found, value
        if running is None or self._waits(row) or not row.applied:
            return None, row.value
        reason = differs(name, row.value, running, ours=self.ours)
        if not reason:
            return None, row.value
        now = running[name]
        return Complaint(name=row.name, reason=reason, file=now.file, line=now.line), now.value

    def _waits(self, row: FileSetting) -> bool:
        """Return whether the error of *row* is only that it needs a restart."""
        if row.name is None:  # a restart-only line that is gone
            return "without restarting" in (row.error or "")
        return row.name.lower() in self._pending

    def _reason(self, row: FileSetting) -> str:
        """Return why *row* is refused; a notice of the server says more than the view."""
        error = row.error or ""
        if row.name is None:
            return error
        quoted = f'"{row.name.lower()}"'
        named = [notice for notice in self._report.notices if quoted in notice.lower()]
        return named[-1] if named else error


def _is_marker(row: FileSetting, marker: str) -> bool:
    return row.name is not None and row.name.lower() == MARKER_SETTING and row.value == marker
