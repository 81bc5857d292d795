"""Protocols for what the daemon needs from outside, and the values that pass through them.

The reconciler knows only these; `app` provides the adapters, the simulation its own. Methods that
are not `async` may block on the disk or a child process: they are called in a thread.
"""

from __future__ import annotations

from asyncio import Future
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from compute_common.document.document import Document
from compute_ctl.decisions.persistent_state import PersistentState
from compute_ctl.decisions.proof import Complaint
from compute_ctl.decisions.sql_report import SqlReport


class Clock(Protocol):
    """The clock, so that tests can replace it."""

    def monotonic(self) -> float:
        """Seconds since an arbitrary time, which never decrease."""

    def wall(self) -> datetime:
        """The current time, timezone UTC."""


class FetchStatus(StrEnum):
    """The kind of answer of a source."""

    ATTACHED = "attached"
    EMPTY = "empty"
    NOT_MODIFIED = "not_modified"


@dataclass(frozen=True, kw_only=True, slots=True)
class Fetched:
    """The answer of a source."""

    status: FetchStatus
    raw: bytes = b""
    """The JSON as received, for ATTACHED only; not yet decoded."""
    etag: str | None = None
    long_polled: bool = False
    """The server honoured `Prefer: wait` (it answered `Preference-Applied`)."""
    invites: bool = False
    """The source wants a request of ours held at all times, and tells what is new by itself."""


class DocumentSource(Protocol):
    """Where documents come from: a file, a control plane, or a template and Patroni's leader."""

    @property
    def name(self) -> str:
        """``file``, ``control_plane`` or ``patroni``."""

    async def fetch(self, *, etag: str | None = None, wait_s: int | None = None) -> Fetched:
        """Fetch the document.

        *etag*: answer NOT_MODIFIED where it still is this one. *wait_s*: let the server hold the
        request for that long until there is news. Bounded: 10 s in all, or *wait_s* + 5 s, and
        10 s more where several addresses are asked.

        Raises:
            FetchError: no usable answer.
        """


class ReportReceiver(Protocol):
    """Where reports of this daemon go: the control plane, if it asks for them."""

    @property
    def wants_reports(self) -> bool:
        """Whether its last answer asked for reports."""

    @property
    def report_missing(self) -> bool:
        """Whether it said that it has no report, as after its restart."""

    async def report(self, body: bytes) -> None:
        """Send a report, JSON; bounded: 2 s.

        Raises:
            FetchError: it was not taken.
        """


class ConfStore(Protocol):
    """The one configuration file of Postgres that the daemon owns."""

    @property
    def path(self) -> Path:
        """Absolute path of that file."""

    def ensure_included(self) -> bool:
        """Make the operator's main file include it; return whether that had to be changed.

        Raises:
            SettingsError: the line is missing and cannot be added.
        """

    def read(self) -> str | None:
        """Return its text, None if there is none. Raises StoreError."""

    def changed_at(self) -> datetime | None:
        """Return when it was last replaced or touched, None if unknown."""

    def check(self, text: str) -> list[Complaint]:
        """Ask the server's own binary about a candidate, without touching the live file (<= 5 s).

        Returns the errors it finds; a check that does not finish is one. Returns none where the
        binary could not be asked.
        """

    def check_referenced_files(self, text: str) -> None:
        """Refuse a candidate that names a file that is not regular. Raises SpecError."""

    def swap(self, text: str) -> None:
        """Replace the file atomically: temp, fsync, rename.

        Raises:
            StoreError: the old file is still in place.
        """

    def sync(self) -> None:
        """Make the last swap durable (fsync of the folder). Raises StoreError."""


class StateStore(Protocol):
    """The state folder: generations, state and history."""

    def load(self) -> PersistentState:
        """Return the state saved last; an empty one where none is usable."""

    def save(self, state: PersistentState) -> None:
        """Replace state.json atomically. Raises StoreError."""

    def put_generation(self, number: int, *, document: bytes, conf: str) -> None:
        """Keep a generation; `sync_generation` makes it durable. Raises StoreError."""

    def sync_generation(self, number: int) -> None:
        """Make a kept generation survive a power failure. Raises StoreError."""

    def get_generation(self, number: int) -> tuple[bytes, str] | None:
        """Return (document, file text) of a kept generation, None if gone or unreadable."""

    def has_generation(self, number: int) -> bool:
        """Return whether a generation is kept."""

    def remake_if_lost(self) -> bool:
        """Make the folder again if it was removed; return whether it was.

        Raises:
            SettingsError: it cannot be made, or another daemon has it now.
        """

    @property
    def token_path(self) -> Path:
        """Absolute path of the file that holds the storage token."""

    def token(self) -> str | None:
        """Return the storage token kept there, None for none."""

    def put_token(self, token: str | None) -> None:
        """Replace the storage token atomically (mode 0600), or remove it. Raises StoreError."""

    def set_aside(self) -> Path | None:
        """Move everything away: it belongs to another cluster. Raises StoreError."""

    def highest_generation(self) -> int:
        """Return the highest number ever kept in the folder, 0 for none."""

    def generations(self) -> tuple[int, ...]:
        """Return the numbers of the generations kept, the newest first."""

    def drop(self, number: int) -> None:
        """Drop a generation. Never raises."""

    def prune(self, keep: frozenset[int]) -> None:
        """Drop all but the last five generations and those in *keep*. Never raises."""

    def add_history(self, entry: Mapping[str, object]) -> None:
        """Append a line to the advisory history. Never raises."""

    def last_attempt(self) -> int:
        """Return the number of the last attempt in the history, 0 for none. Never raises."""


class Postgres(Protocol):
    """The server, whoever started it."""

    @property
    def ready(self) -> bool:
        """Whether it accepts connections, according to postmaster.pid."""

    @property
    def running(self) -> bool:
        """Whether a verified postmaster process exists (perhaps still starting)."""

    @property
    def pid(self) -> int | None:
        """Pid of the verified postmaster, or None."""

    @property
    def in_recovery(self) -> bool | None:
        """Whether it is a standby; None while it is not ready. From pg_control: costs no SQL."""

    @property
    def is_primary(self) -> bool:
        """Whether its cluster is that of a primary, also while it does not run."""

    @property
    def has_read_files(self) -> bool:
        """Whether the postmaster, if there is one, has read its configuration files."""

    def blocked_on(self) -> str | None:
        """Return the file that blocks the postmaster, None if none does or it is unknown."""

    def unblock(self, file: str) -> None:
        """Let the postmaster, which waits for the pipe *file*, go on as if it were empty."""

    def started_after(self, at: datetime) -> bool:
        """Whether the postmaster was certainly started later than *at*; False if in doubt."""

    def read_log(self) -> None:
        """Process what the server has logged so far, if the daemon receives its log."""

    def reload(self) -> bool:
        """Send SIGHUP to the verified postmaster; False where there is none."""


class SqlProbe(Protocol):
    """Queries the configuration of the running server over SQL."""

    async def look(self, *, deadline_s: float) -> SqlReport:
        """Return what the server says about its configuration files.

        Raises:
            ProbeError: no answer within *deadline_s*.
        """


class SettingsTrial(Protocol):
    """Tries settings in a session of the running server, without lasting effect."""

    async def accepts(self, settings: Mapping[str, str], *, within_s: float) -> bool:
        """Return whether the server certainly accepts all of *settings*; never raises.

        False also where it cannot be asked at once.
        """


class CatalogOutcome(StrEnum):
    """How a request to update the catalog ended."""

    DONE = "done"
    UNCHANGED = "unchanged"
    """It had been done before."""
    SKIPPED = "skipped"
    """The document asks for nothing in the catalog, or the server is a standby."""
    FAILED = "failed"
    SUPERSEDED = "superseded"
    """A newer document is desired."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CatalogResult:
    """The result of one attempt to update the catalog."""

    outcome: CatalogOutcome
    reason: str = ""
    steps: int = 0
    """Statements that succeeded."""
    duration_ms: float = 0.0

    @property
    def good(self) -> bool:
        """Whether nothing is left to do in the catalog."""
        return self.outcome not in (CatalogOutcome.FAILED, CatalogOutcome.SUPERSEDED)


class CatalogRequests(Protocol):
    """Accepts requests to update roles, databases and extensions in the running server."""

    def request(self, document: Document, *, force: bool = False) -> Future[CatalogResult]:
        """Update the catalog to match *document* once its configuration is proven.

        The future holds the result of the first attempt; a failed one is retried. *force* repeats
        work that was done before, except delta operations.
        """

    def wake(self) -> None:
        """Check again whether work can begin."""
