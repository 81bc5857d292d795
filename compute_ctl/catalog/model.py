"""The catalog of a running server, and the plan that changes it. Pure data.

A plan is a sequence of phases; a phase is work on some connections; work is a list of statements.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True, slots=True)
class CatalogRole:
    """A role that exists."""

    name: str
    encrypted_password: str | None = field(default=None, repr=False)
    """As the server keeps it; an md5 digest with its prefix."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CatalogDatabase:
    """A database that exists."""

    name: str
    owner: str
    restrict_conn: bool = False
    """Connections are not allowed."""
    invalid: bool = False
    """Left by an interrupted DROP DATABASE: it can only be dropped."""
    is_template: bool = False

    @property
    def usable(self) -> bool:
        """Whether it can be connected to."""
        return not (self.restrict_conn or self.invalid)


@dataclass(frozen=True, kw_only=True, slots=True)
class Catalog:
    """Roles and databases by name, and the facts that a plan depends on."""

    roles: Mapping[str, CatalogRole]
    databases: Mapping[str, CatalogDatabase]
    system_database: str = "postgres"
    """The database that the daemon is connected to."""
    superuser: str = "postgres"
    """The role that it acts as."""
    in_recovery: bool = False
    available_extensions: frozenset[str] = frozenset()
    subscriptions_dropped_for: str | None = None
    """The timeline in which the parent's subscriptions were last dropped."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Statement:
    """One simple query."""

    label: str
    """Its name in log and errors."""
    sql: str = field(repr=False)
    """May hold a password verifier."""
    expand: bool = False
    """The query returns further statements, which are then run."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Work:
    """Statements to run in order on one connection."""

    statements: tuple[Statement, ...]
    database: str | None = None
    """None: the database that the daemon is connected to."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Phase:
    """Work that requires all earlier phases."""

    name: str
    work: tuple[Work, ...]
