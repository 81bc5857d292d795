"""What to do with a document, and what to fall back to after a refusal. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from compute_common.document.document import Document
from compute_common.document.versions import Version, is_older
from compute_ctl.decisions.model import Desired, Outcome, Written
from compute_ctl.decisions.persistent_state import Quarantined
from compute_ctl.decisions.proof import Complaint
from compute_ctl.document.spec_sources import UPSTREAM_SETTINGS

QUARANTINE_RETRY: Final = timedelta(minutes=1)
"""How often quarantined content is tried again when it comes in a new version."""


class Action(StrEnum):
    """What to do with a document."""

    KEEP = "keep"
    """Ignore it: this source has sent it before, and another document was pushed since."""
    NOTHING = "nothing"
    """It already runs; its version may be newer."""
    ADOPT = "adopt"
    """Its file would be the same as the live one: record it as applied."""
    VERIFY = "verify"
    """Its file would be the same, but is not proven yet."""
    STALE = "stale"
    """It is older than the version floor."""
    QUARANTINED = "quarantined"
    APPLY = "apply"
    """Write it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Baseline:
    """What a document is compared with."""

    written: Written | None
    desired: Desired | None
    floor: Version | None
    """Older documents are refused."""
    quarantined: Quarantined | None
    """The quarantine of this content, if there is one."""
    worker_complains: bool = False
    """Postgres reports that servers in its configuration fail."""
    seen_before: bool
    """It is unversioned and equals the last document of this source."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ApplyResult:
    """How the application of one document ended."""

    outcome: Outcome
    reason: str = ""
    broken: bool = False
    """Neither the document nor a fallback runs."""
    invalid: bool = False
    """Refused by the daemon's own checks."""
    lasting: bool = False
    """The source refuses the daemon until a person changes something."""
    excused: bool = False
    """Not proven only because Postgres does not run."""
    refused: tuple[Complaint, ...] = ()
    """Settings of the live file that Postgres refuses."""


def classify(
    document: Document, body: str, known: Baseline, *, now: datetime, force: bool
) -> Action:
    """Return what to do with *document*, which renders to *body*."""
    if is_older(document.version, known.floor):
        return Action.STALE
    entry = known.quarantined
    if not force and entry and not _may_retry(document, entry, known, now):
        return Action.QUARANTINED
    written, desired = known.written, known.desired
    if (
        known.seen_before
        and desired is not None
        and desired.content_sha256 != document.content_sha256
    ):
        return Action.KEEP  # a periodic pull does not undo a push
    if written is None or written.body != body:
        return Action.APPLY
    if not written.proven:
        return Action.VERIFY
    return Action.NOTHING if written.content_sha256 == document.content_sha256 else Action.ADOPT


def _may_retry(document: Document, entry: Quarantined, known: Baseline, now: datetime) -> bool:
    is_new = document.version != entry.version or document.operation_uuid != entry.operation_uuid
    # An unfinished check may finish on a less busy machine; a heal does not wait for that.
    is_new = is_new or (entry.unfinished and not known.worker_complains)
    just_now = timedelta(0) <= now - entry.at < QUARANTINE_RETRY  # not where the clock was set back
    return is_new and not just_now


@dataclass(frozen=True, kw_only=True, slots=True)
class GoodBody:
    """The file to fall back to, in its two parts."""

    rest: str
    upstream: str


def fallback_body(
    *, upstream: str, bad: tuple[Complaint, ...], good: GoodBody | None
) -> str | None:
    """Return the body to fall back to after a refusal, None where there is none.

    It combines the rest of *good* with the new upstream: a bad `work_mem` in the same document must
    not stop a new pageserver list, nor bring a dead pageserver back. The old upstream is taken only
    where the new one itself was refused.
    """
    if good is None:
        return None
    if any(complaint.name in UPSTREAM_SETTINGS for complaint in bad):
        return good.rest + good.upstream
    return good.rest + upstream


def reasons(complaints: tuple[Complaint, ...], *, places: bool = True) -> str:
    """Return *complaints* as one line for log and status.

    Pass places=False for a candidate; its line numbers do not match the live file.
    """
    return "; ".join(_reason(complaint, place=places) for complaint in complaints)


def _reason(complaint: Complaint, *, place: bool) -> str:
    spot = f"{complaint.file}:{complaint.line}" if complaint.file and place else ""
    where = f" ({spot})" if spot and not complaint.said.endswith(spot) else ""
    what = f"{complaint.name}: " if complaint.name else ""
    return f"{what}{complaint.said}{where}"
