"""The promotion of a standby, as it is shown. Pure data."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Final

from msgspec import Struct


class PromotionStatus(StrEnum):
    """How far a promotion is; API."""

    WAITING = "waiting"
    """The standby is to replay the log up to the position asked for."""
    PREPARING = "preparing"
    """It gets the settings of the primary, and follows on."""
    PROMOTING = "promoting"
    """`pg_promote` is called."""
    APPLYING = "applying"
    """It is a primary, and gets the document."""
    COMPLETED = "completed"
    NOT_PROMOTED = "not_promoted"
    """Something newer took its place; as far as is known, the server is a standby."""
    FAILED = "failed"


IRREVOCABLE: Final = frozenset(
    {PromotionStatus.PREPARING, PromotionStatus.PROMOTING, PromotionStatus.APPLYING}
)
"""While it is one of these, neither another promotion nor a push ends it."""


class PromotionView(Struct, frozen=True, kw_only=True):
    """The last promotion; null fields are not known (yet)."""

    status: PromotionStatus
    who: str
    started_at: datetime
    finished_at: datetime | None = None
    wal_flush_lsn: str | None = None
    """What is to be replayed first; null: nothing is waited for."""
    replayed_lsn: str | None = None
    """As seen last."""
    lsn_wait_time_ms: int = 0
    pg_promote_time_ms: int = 0
    reconfigure_time_ms: int = 0
    error: str | None = None

    @property
    def summary(self) -> str:
        """One line for people; '' for one that has succeeded."""
        if self.status is PromotionStatus.COMPLETED:
            return ""
        if self.status is PromotionStatus.WAITING and self.wal_flush_lsn is not None:
            return f"waiting for {self.wal_flush_lsn}, at {self.replayed_lsn or 'no position'}"
        return self.status.replace("_", " ") + (f": {self.error}" if self.error else "")
