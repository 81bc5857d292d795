"""The values that the node keeps and shows. Pure data.

A `Struct` is also the JSON of the API, in which its texts are redacted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final

import msgspec
from msgspec import Struct

from compute_common.document.versions import Version
from compute_ctl.decisions.persistent_state import GenerationRef
from compute_ctl.document.candidates import Candidates
from compute_ctl.document.generation import LiveFile, Marker, sha256_hex


class Outcome(StrEnum):
    """How an attempt ended; API."""

    APPLIED = "applied"
    """Proven, at least its upstream part."""
    UNCHANGED = "unchanged"
    """What was fetched is what already runs."""
    REJECTED = "rejected"
    """Refused by our checks or by Postgres, or quarantined."""
    FETCH_FAILED = "fetch_failed"
    STALE = "stale"
    """Older than what is desired."""
    EMPTY = "empty"
    """The source says that this compute is detached."""
    UNPROVEN = "unproven"
    """Written, but not acknowledged by Postgres in time."""
    BLOCKED = "blocked"
    """An error outside our file keeps Postgres from reading it."""
    WRITE_FAILED = "write_failed"
    SUPERSEDED = "superseded"
    """A newer push took its place."""
    NOT_PROMOTED = "not_promoted"
    """The promotion of a standby failed: it is one still."""
    TERMINATED = "terminated"
    TIMEOUT = "timeout"
    """The caller waited no longer; the attempt goes on."""


PUSH: Final = "push"
"""The source of a pushed document; a pulled one has the name of its `DocumentSource`."""

GOOD_OUTCOMES: Final = frozenset({Outcome.APPLIED, Outcome.UNCHANGED})


class RequestOrigin(StrEnum):
    """Who asks for a refresh."""

    WORKER = "worker"
    """Postgres's refresh worker, which repeats its request while the trouble lasts."""
    OPERATOR = "operator"
    """A person, a script or Neon's own library."""
    CLOCK = "clock"
    """The periodic reconcile, or the daemon's own start."""


class Suspicion(Struct, frozen=True, kw_only=True):
    """What Postgres says is wrong."""

    source: str
    """``pageserver``, ``safekeeper`` or ``primary``."""
    shard: int | None = None
    trouble: str = msgspec.field(default="", name="class")
    """``dead``, ``silent``, ``wrong`` or ``nonsense``."""
    sqlstate: str = ""
    text: str = ""
    count: int = 1

    def __str__(self) -> str:
        """Return one line for the log."""
        shard = "" if self.shard is None else f" of shard {self.shard}"
        text = f": {self.text}" if self.text else ""
        return f"{self.source or 'a server'}{shard} is {self.trouble or 'in trouble'}{text}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Suspected:
    """A suspicion that lasts."""

    suspicion: Suspicion
    since: datetime
    endpoint: str | None = None
    """``host:port`` in the live file; None where that cannot be told."""


class ReportStatus(Struct, frozen=True, kw_only=True):
    """What the control plane last took of what this daemon reports."""

    accepted_at: datetime | None = None
    """None: nothing yet, or it has not asked for reports."""
    desired_sha256: str | None = None
    applied_sha256: str | None = None
    error: str | None = None
    """Why the last report was not taken; None where it was."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Ticket:
    """The receipt for a refresh request."""

    refresh_id: int
    coalesced: bool
    """It joins an earlier request that no attempt has taken yet."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AckMessage:
    """The body of POST /configuration_ack."""

    marker: str
    map_sha256: str
    shard_count: int = 0
    stripe_size: int = 0
    pid: int = 0
    suspects: bool | None = None
    """Whether the worker reports any upstream server as failing; False: the trouble is over."""
    not_reloaded: tuple[str, ...] = ()
    """What the postmaster did not reload: ``ssl``, ``hba``, ``ident``."""


class AckAnswer(StrEnum):
    """What an acknowledgement proves."""

    TAKEN = "taken"
    STALE = "stale"
    """It is for an earlier generation."""
    UNKNOWN = "unknown"
    """It is for no generation of this daemon."""


class Attempt(Struct, frozen=True, kw_only=True):
    """One attempt to bring Postgres up to date."""

    number: int = msgspec.field(name="id")
    who: str
    started_at: datetime
    finished_at: datetime
    duration_ms: float
    outcome: Outcome
    reason: str = ""
    generation: int | None = None

    def repeats(self, earlier: Attempt | None) -> bool:
        """Whether it only repeats *earlier*: then log and history leave it out."""
        return (
            earlier is not None
            and self.outcome is not Outcome.APPLIED
            and (self.outcome, self.reason) == (earlier.outcome, earlier.reason)
        )


class CatalogKind(StrEnum):
    """What is done to the catalog of the cluster."""

    CATALOG = "catalog"
    """Roles, databases and extensions as a document wants them."""
    MIGRATIONS = "migrations"


class CatalogRun(Struct, frozen=True, kw_only=True):
    """One run of work on the catalog, after the configuration was proven."""

    kind: CatalogKind
    started_at: datetime
    finished_at: datetime
    duration_ms: float
    outcome: str
    """``done``, ``failed`` or ``skipped``."""
    reason: str = ""
    statements: int = 0
    """Steps, or migrations, that succeeded."""
    timeouts: int = 0
    """Statements that the server cancelled at the deadline."""
    failed_migration: int | None = None

    def repeats(self, earlier: CatalogRun | None) -> bool:
        """Whether it only repeats *earlier*: then the history leaves it out."""
        return (
            earlier is not None
            and self.statements == 0
            and (self.kind, self.outcome, self.reason)
            == (earlier.kind, earlier.outcome, earlier.reason)
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Written:
    """The generation in the live file."""

    marker: Marker
    rest: str
    upstream: str
    at: datetime
    content_sha256: str = ""
    """Of the document; '' where the file combines two documents, or the document is lost."""
    version: Version | None = None
    names: frozenset[str] = frozenset()
    """The settings in it."""
    changed: frozenset[str] = frozenset()
    """Settings of the rest that differ from the last rest proven before."""
    servers: Mapping[str, str] = field(default_factory=dict)
    """Those that name other servers and are not empty."""
    included: frozenset[str] = frozenset()
    """The files and folders that its rest includes."""
    candidates: Candidates = field(default_factory=Candidates)
    """The pageservers in it."""
    map_sha256: str = ""
    """The shard map that the worker's acknowledgement must name; '' accepts any."""
    is_fallback: bool = False
    proven: bool = False
    in_full: bool = False
    """Proven by a new session, too."""

    @property
    def body(self) -> str:
        """All of the file but the marker line."""
        return self.rest + self.upstream

    def is_in(self, live: LiveFile | None) -> bool:
        """Whether *live* is this generation, as it was written."""
        return live is not None and live.intact and live.marker == self.marker

    def ref(self, at: datetime) -> GenerationRef:
        """Return a reference to this generation, as of *at*."""
        return GenerationRef(
            generation=self.marker.generation,
            marker=str(self.marker),
            content_sha256=self.content_sha256,
            at=at,
            version=self.version,
            rest_sha256=sha256_hex(self.rest),
            in_full=self.in_full,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class StartFailure:
    """Postgres did not come up."""

    reason: str
    marker: Marker | None
    """Of the generation that was in the file when it was started."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Desired:
    """The newest document accepted, whether or not it could be applied."""

    content_sha256: str
    version: Version | None
    at: datetime
    source: str
    generation: int | None = None
    mode: str | None = None
    """The mode that it asks for, None for none."""
