"""The report of the daemon to its control plane. Pure.

A report says which document is desired and which one Postgres has proven (an acknowledgement, or a
refusal with its reason), and which servers Postgres suspects. No secret is in it.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from msgspec import Struct, field

from compute_common.document.versions import Version
from compute_common.redact import redact
from compute_ctl.decisions.model import (
    Suspected,
)
from compute_ctl.decisions.proof import Proof
from compute_ctl.decisions.status import DesiredView, GenerationView, StatusBody

DAEMON: Final = "compute_ctl"
MAX_SUSPICIONS: Final = 128
"""One for each shard; more than that are not reported."""


class ReportedDocument(Struct, frozen=True, kw_only=True):
    """A document, as the control plane can recognise it."""

    generation: int | None
    """Its `spec.generation`."""
    hash: str
    """SHA-256 of its content, in hex."""
    proof: Proof | None = None
    """How much of it Postgres has proven; None for the desired one."""


class ReportedSuspicion(Struct, frozen=True, kw_only=True):
    """A server that Postgres suspects."""

    source: str
    shard: int | None
    endpoint: str | None
    """``host:port`` in the running configuration, None where that cannot be told."""
    trouble: str = field(name="class")
    sqlstate: str
    text: str
    since: datetime
    count: int


class Report(Struct, frozen=True, kw_only=True):
    """The body of a report."""

    daemon: str = DAEMON
    version: str
    """Of the daemon."""
    status: str
    desired: ReportedDocument | None
    applied: ReportedDocument | None
    servers: ReportedDocument | None
    """The refused document whose servers are in force, though its settings are not."""
    outcome: str | None
    """How the last attempt ended, None before the first."""
    reason: str
    pending_restart: tuple[str, ...]
    """Settings that wait for a restart of Postgres."""
    suspicions: tuple[ReportedSuspicion, ...]

    def says_more_than(self, earlier: Report | None) -> bool:
        """Whether it differs from *earlier* in more than the count of the same complaints."""
        return earlier is None or _without_counts(self) != _without_counts(earlier)


def report_of(
    status: StatusBody,
    suspicions: tuple[Suspected, ...],
    *,
    version: str,
    servers: tuple[Version | None, str] | None = None,
) -> Report:
    """Return what there is to report; *version* is the daemon's.

    *servers*: version and hash of the refused document whose servers are in force.
    """
    attempt, config = status.refresh.last_attempt, status.config
    return Report(
        version=version,
        status=status.status.value,
        desired=_document(config.desired),
        applied=_document(config.applied, config.proof),
        servers=_named(*servers, config.proof) if servers else None,
        outcome=attempt.outcome.value if attempt else None,
        reason=redact(attempt.reason) if attempt else "",
        pending_restart=tuple(one.name for one in status.postgres.pending_restart),
        suspicions=tuple(map(_suspicion, suspicions[:MAX_SUSPICIONS])),
    )


def _document(
    one: DesiredView | GenerationView | None, proof: Proof | None = None
) -> ReportedDocument | None:
    if one is None:
        return None
    return _named(Version.parse(one.version or ""), one.sha256, proof)


def _named(version: Version | None, sha256: str, proof: Proof | None) -> ReportedDocument:
    generation = version.generation if version else None
    return ReportedDocument(generation=generation, hash=sha256, proof=proof)


def _suspicion(suspected: Suspected) -> ReportedSuspicion:
    found = suspected.suspicion
    return ReportedSuspicion(
        source=found.source,
        shard=found.shard,
        endpoint=suspected.endpoint,
        trouble=found.trouble,
        sqlstate=found.sqlstate,
        text=redact(found.text),
        since=suspected.since,
        count=found.count,
    )


def _without_counts(report: Report) -> tuple[object, ...]:
    complaints = tuple(
        (one.source, one.shard, one.endpoint, one.trouble, one.sqlstate)
        for one in report.suspicions
    )
    return (
        report.status,
        report.desired,
        report.applied,
        report.servers,
        report.outcome,
        report.reason,
        report.pending_restart,
        complaints,
    )
