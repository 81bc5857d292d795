"""How much is kept of what a compute says of itself. Pure.

A report is shown, redacted and kept: one compute must not make that costly for all others.
"""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from control_plane.decisions.model import Report, ReportedDocument, Suspicion

MAX_TEXT: Final = 2000
"""Characters of a reason."""
MAX_NAME: Final = 300
"""Characters of an endpoint, a setting or a word; a host name has at most 253."""
MAX_SUSPICIONS: Final = 128
"""`compute_ctl` reports no more: one for each shard."""
MAX_SETTINGS: Final = 200


def bounded(report: Report) -> Report:
    """Return *report* with texts and lists cut."""
    return replace(
        report,
        daemon=_name(report.daemon),
        version=_name(report.version),
        status=_name(report.status),
        desired=_document(report.desired),
        applied=_document(report.applied),
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
