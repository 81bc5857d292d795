"""Which computes are alive, and whether they run with what is published to them. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Final

from msgspec import Struct

from control_plane.decisions.model import (
    ALIVE_S,
    ComputeRecord,
    Heard,
    Report,
    ReportedDocument,
)

PROOFS: Final = frozenset({"full", "upstream"})
"""Postgres has proven at least that it uses the servers; see `compute_ctl.decisions.proof`."""
_UNHEARD: Final = Heard()


class Condition(StrEnum):
    """How a compute stands to what is published to it."""

    IN_SYNC = "in_sync"
    APPLYING = "applying"
    """It is alive and has not said yet that it runs with it."""
    REFUSED = "refused"
    """It has refused it."""
    SILENT = "silent"
    """It is not alive."""
    INCOMPLETE = "incomplete"
    """Nothing is published, or not what the storage says now."""
    UNKNOWN = "unknown"
    """It is alive, but tells nothing of itself."""


class Laggard(Struct, frozen=True, kw_only=True):
    """A compute that does not run with what the storage says now."""

    compute_id: str
    reason: str
    final: bool = False
    """It has refused this generation, so it stays one until the next generation is published."""


def heard_at(heard: Heard, now: float) -> float | None:
    """Return when a compute was last heard of, in monotonic seconds; None: never."""
    if heard.holds:
        return now
    times = (heard.asked_at, heard.reported_at, heard.reachable_at)
    return max((at for at in times if at is not None), default=None)


def alive(heard: Heard, now: float) -> bool:
    """Whether a compute has reported, asked or been reached within `ALIVE_S`."""
    at = heard_at(heard, now)
    return at is not None and now - at <= ALIVE_S


def may_be_alive(heard: Heard, now: float, *, blind_until: float) -> bool:
    """Whether a compute is alive, or nothing was heard of it since our own start, not long ago.

    *blind_until*: see `hooks.answer`.
    """
    return alive(heard, now) or (now < blind_until and heard_at(heard, now) is None)


def runs_with(record: ComputeRecord, heard: Heard) -> bool:
    """Whether the compute has said that it runs with what is published to it.

    Generation and content must both fit: a report that is older than a move away and back names the
    same content, and a store restored from a backup counts generations that the compute knows.
    """
    if record.published is None:
        return False
    if 0 < record.generation <= heard.pushed_generation:
        return True
    return heard.report is not None and _proves(heard.report.applied, record)


def has_moved(record: ComputeRecord, heard: Heard) -> bool:
    """Whether the compute has said that it uses the servers of what is published.

    It may have refused the settings beside them: hooks are about servers only.
    """
    if runs_with(record, heard):
        return True
    if record.published is None or heard.report is None:
        return False
    return _proves(heard.report.servers, record)


def _proves(said: ReportedDocument | None, record: ComputeRecord) -> bool:
    """Whether *said* names what is published, with a proof that Postgres uses its servers."""
    return (
        said is not None
        and said.proof in PROOFS
        and said.generation is not None
        and said.generation >= record.generation
        and said.hash == record.content_sha256
    )


def refuses(record: ComputeRecord, heard: Heard) -> str:
    """Return why the compute has refused what is published to it, '' where it has not."""
    report = heard.report
    if heard.push_error:
        return heard.push_error
    if report is None or report.outcome != "rejected" or report.desired is None:
        return ""
    is_it = report.desired.hash == record.content_sha256
    return (report.reason or "rejected") if is_it else ""


def has_refused(record: ComputeRecord, heard: Heard) -> bool:
    """Whether the compute has said that it refuses this generation, not an earlier one.

    A daemon that is pushed to gets the document again, so it may still take it.
    """
    report = heard.report
    if record.push_url is not None or report is None or report.desired is None:
        return False
    return bool(refuses(record, heard)) and report.desired.generation == record.generation


def condition(
    record: ComputeRecord, heard: Heard | None, now: float, *, incomplete: str = ""
) -> Condition:
    """Return how a compute stands at monotonic time *now*; *incomplete*: see `hooks.answer`."""
    heard = heard or _UNHEARD
    if record.published is None or incomplete:
        return Condition.INCOMPLETE
    if not alive(heard, now):
        return Condition.SILENT
    if runs_with(record, heard):
        return Condition.IN_SYNC
    if refuses(record, heard):
        return Condition.REFUSED
    told = heard.report is not None or record.push_url is not None
    return Condition.APPLYING if told else Condition.UNKNOWN


def laggards(
    computes: Sequence[tuple[ComputeRecord, Heard]],
    *,
    now: float,
    blind_until: float,
    incomplete: Mapping[str, str] | None = None,
) -> tuple[Laggard, ...]:
    """Return those of *computes* that are, or may be, alive and do not run with what they should.

    See `hooks.answer` for the parameters.
    """
    found, missing = [], incomplete or {}
    for record, heard in computes:
        why = _lags(record, heard, now, blind_until, missing.get(record.id, ""))
        if why:
            # Where there is no document of the present state, the next one is still to come.
            final = record.id not in missing and alive(heard, now) and has_refused(record, heard)
            found.append(Laggard(compute_id=record.id, reason=why, final=final))
    return tuple(found)


def _lags(
    record: ComputeRecord, heard: Heard, now: float, blind_until: float, incomplete: str
) -> str:
    if alive(heard, now):
        if incomplete:
            return f"has no document for it: {incomplete}"
        return "" if has_moved(record, heard) else _why(record, heard)
    if may_be_alive(heard, now, blind_until=blind_until):
        return f"may be alive: nothing was heard of it yet, known in {blind_until - now:.0f} s"
    return ""


def _why(record: ComputeRecord, heard: Heard) -> str:
    """Return why a compute that is alive does not run with what is published."""
    if refused := refuses(record, heard):
        return f"refuses generation {record.generation}: {refused}"
    if heard.report is None and record.push_url is None:
        return f"does not say whether it runs with generation {record.generation}"
    applied = heard.report.applied if heard.report else None
    has = heard.pushed_generation or (applied.generation if applied else None)
    return f"has not applied generation {record.generation} yet, runs with {has or 'none'}"


def news(old: Report | None, new: Report) -> list[tuple[str, str]]:
    """Return what *new* says that *old* does not, as kind and text, for a timeline."""
    found: list[tuple[str, str]] = []
    if old is None or old.status != new.status:
        found.append(("status", new.status))
    applied = new.applied
    if applied is not None and (old is None or old.applied != applied):
        text = f"generation {applied.generation} ({applied.proof or 'none'})"
        found.append(("applied", text))
    outcome = (new.outcome, new.reason)
    if new.reason and (old is None or (old.outcome, old.reason) != outcome):
        found.append((new.outcome or "reason", new.reason))
    before = _troubles(old) if old else frozenset()
    found += [("suspects", trouble) for trouble in sorted(_troubles(new) - before)]
    found += [("suspects no longer", trouble) for trouble in sorted(before - _troubles(new))]
    return found


def _troubles(report: Report) -> frozenset[str]:
    return frozenset(
        f"{one.source} {one.endpoint or 'unknown'}"
        f"{'' if one.shard is None else f' (shard {one.shard})'}: {one.trouble}"
        for one in report.suspicions
    )
