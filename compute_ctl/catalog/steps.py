"""What a plan is made of: phases, each of work on some connections, each of steps. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True, slots=True)
class Statement:
    """One simple query."""

    what: str
    """For log and errors."""
    sql: str = field(repr=False)
    """May hold a password verifier."""
    expand: bool = False
    """A query that returns statements, each to be run then."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Work:
    """Steps on one connection, in this order."""

    steps: tuple[Statement, ...]
    database: str | None = None
    """None: the one where the daemon is connected anyway."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Phase:
    """Work that needs all earlier phases."""

    name: str
    work: tuple[Work, ...]
