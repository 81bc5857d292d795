"""What the catalog of a running server holds. Pure data."""

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
    """Nobody may connect."""
    invalid: bool = False
    """What an interrupted DROP DATABASE has left: it can only be dropped."""
    is_template: bool = False

    @property
    def usable(self) -> bool:
        """Whether it can be connected to."""
        return not (self.restrict_conn or self.invalid)


@dataclass(frozen=True, kw_only=True, slots=True)
class Catalog:
    """Roles and databases, by name, and what else decides what can be done with them."""

    roles: Mapping[str, CatalogRole]
    databases: Mapping[str, CatalogDatabase]
    system_database: str = "postgres"
    """Where the daemon is connected."""
    superuser: str = "postgres"
    """As whom it acts."""
    in_recovery: bool = False
    available_extensions: frozenset[str] = frozenset()
    subscriptions_dropped_for: str | None = None
    """The timeline in which the subscriptions of its parent were dropped last."""
