"""How much is kept of what a compute says of itself. Pure.

A report is shown, redacted and kept: one compute must not make that costly for all others.
"""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from compute_common.token_bucket import TokenBucket
from control_plane.decisions.model import Report, ReportedDocument, Suspicion

MAX_TEXT: Final = 2000
"""Characters of a reason."""
MAX_NAME: Final = 300
"""Characters of an endpoint, a setting or a word; a host name has at most 253."""
MAX_SUSPICIONS: Final = 128
"""`compute_ctl` reports no more: one for each shard."""
MAX_SETTINGS: Final = 200
REPORTS_A_SECOND: Final = 10.0
"""Of one compute; `compute_ctl` sends no more."""
REPORTS_AT_ONCE: Final = 20
RATES_KEPT: Final = 100_000
"""Computes whose rate is kept."""


class ReportRate:
    """Allows each compute so many reports a second, and some more after a pause."""

    def __init__(self) -> None:
        self._buckets: dict[str, TokenBucket] = {}
        """By compute."""

    def allows(self, compute_id: str, now: float) -> bool:
        """Count a report at monotonic time *now*; return whether it is not one too many."""
        bucket = self._buckets.get(compute_id)
        if bucket is None:
            if len(self._buckets) >= RATES_KEPT:
                self._buckets.clear()  # most of these computes are deleted by now
            bucket = TokenBucket(burst=REPORTS_AT_ONCE, per_second=REPORTS_A_SECOND)
            self._buckets[compute_id] = bucket
        return bucket.take(now)


def bounded(report: Report) -> Report:
    """Return *report* with texts and lists cut."""
    return replace(
        report,
        daemon=_name(report.daemon),
        version=_name(report.version),
        status=_name(report.status),
        desired=_document(report.desired),
        applied=_document(report.applied),
        servers=_document(report.servers),
        outcome=None if report.outcome is None else _name(report.outcome),
        reason=_cut(report.reason, MAX_TEXT),
        pending_restart=tuple(map(_name, report.pending_restart[:MAX_SETTINGS])),
        suspicions=tuple(map(_suspicion, report.suspicions[:MAX_SUSPICIONS])),
    )


def _document(said: ReportedDocument | None) -> ReportedDocument | None:
    if said is None:
        return None
    proof = None if said.proof is None else _name(said.proof)
    return replace(said, hash=_name(said.hash), proof=proof)


def _suspicion(said: Suspicion) -> Suspicion:
    return replace(
        said,
        source=_name(said.source),
        endpoint=None if said.endpoint is None else _name(said.endpoint),
        trouble=_name(said.trouble),
        sqlstate=_name(said.sqlstate),
        text=_cut(said.text, MAX_TEXT),
    )


def _name(text: str) -> str:
    return _cut(text, MAX_NAME)


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[:limit] + "…"
