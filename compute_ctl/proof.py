"""What Postgres itself says of a configuration, judged. Pure.

Bad, waiting for a restart, shadowed by a later source and broken elsewhere look alike in
`pg_file_settings`; `judge` tells them apart. The order of the questions that fill a `SqlReport`
(one session: ``client_min_messages=debug3``, then pg_file_settings, then
``pg_settings.pending_restart``) matters: see `sql_probe`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Proof(StrEnum):
    """How much is proven."""

    FULL = "full"
    """Postgres runs the generation and none of its settings is in error."""
    UPSTREAM = "upstream"
    """The worker acknowledged marker and shard map; SQL did not answer."""
    NONE = "none"


@dataclass(frozen=True, kw_only=True, slots=True)
class Complaint:
    """One thing wrong with a setting."""

    name: str | None
    """The setting, None for a syntax error or the like."""
    reason: str
    file: str | None = None
    line: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class FileSetting:
    """A row of pg_file_settings."""

    file: str
    line: int
    name: str | None
    value: str | None
    applied: bool
    error: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class PendingRestart:
    """A setting whose new value waits for a restart."""

    name: str
    old: str
    new: str
    file: str | None
    line: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class SqlReport:
    """What one session saw."""

    conf_load_time: datetime
    """pg_conf_load_time() of that (new) session's postmaster."""
    marker: str | None
    """neon_refresh.config_generation as this session has it; None where undefined."""
    library_loaded: bool
    """Whether neon_refresh really defines the marker (a placeholder proves nothing)."""
    settings: tuple[FileSetting, ...]
    pending_restart: tuple[PendingRestart, ...]
    notices: tuple[str, ...] = ()
    """Messages of the server while it read the files: the reasons."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Ack:
    """What the refresh worker acknowledged for the marker in question."""

    map_matches: bool
    """The published shard map is the one rendered."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """The judgement over one generation."""

    proof: Proof
    bad: tuple[Complaint, ...] = ()
    """Positive evidence that Postgres refuses managed settings."""
    blocked: tuple[Complaint, ...] = ()
    """Errors outside our file that keep Postgres from reading it: no fault of the document."""
    shadowed: tuple[Complaint, ...] = ()
    """Managed settings that a later source overrides: drift."""
    pending_restart: tuple[PendingRestart, ...] = ()

    @property
    def rejected(self) -> bool:
        """Whether there is positive evidence against the document."""
        return bool(self.bad)
