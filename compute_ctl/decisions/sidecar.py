"""What became of the programs beside Postgres that a document configures too, as it is shown."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from msgspec import Struct


class SidecarOutcome(StrEnum):
    """What became of what the newest document says of a program."""

    APPLIED = "applied"
    ABSENT = "absent"
    """There is no such program on this machine."""
    FAILED = "failed"
    """It is tried again."""


class SidecarState(Struct, frozen=True, kw_only=True):
    """One program beside Postgres."""

    name: str
    """``pgbouncer``, ``local_proxy``, or ``tls`` for Postgres's own certificate files."""
    outcome: SidecarOutcome
    error: str | None = None
    at: datetime
    """Since when it is so."""
