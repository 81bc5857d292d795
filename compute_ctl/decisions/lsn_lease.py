"""Leases of the LSN that a static compute is pinned to. Pure.

A pageserver removes old pages behind its horizon of garbage collection. A lease keeps those of one
LSN for some more minutes; it holds on the pageserver that granted it only. The command and the
rule by which a lease is renewed are Neon's.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from msgspec import Struct

from compute_ctl.document.body import Body

RENEW_BEFORE: Final = timedelta(seconds=60)


@dataclass(frozen=True, kw_only=True, slots=True)
class LeaseRequest:
    """A lease of one shard."""

    server: str
    """Connection string of the pageserver, without a password."""
    tenant_shard: str
    """The tenant, followed by ``-NNCC`` (number and count, in hex) where it has several shards."""
    timeline: str
    lsn: str
    in_use: bool = True
    """Postgres reads from that pageserver; else it may at any moment."""

    @property
    def command(self) -> str:
        """What the pageserver is asked."""
        return f"lease lsn {self.tenant_shard} {self.timeline} {self.lsn}"


def wanted(body: str) -> tuple[LeaseRequest, ...]:
    """Return the leases that a server needs which runs with *body*; () unless it is static.

    Of all pageservers of all shards: Postgres is sent to another one without warning.
    """
    found = Body.read(body)
    if found.mode != "static" or not (found.target_lsn and found.tenant_id and found.timeline_id):
        return ()
    count = len(found.shards)
    return tuple(
        LeaseRequest(
            server=server,
            tenant_shard=f"{found.tenant_id}-{number:02x}{count:02x}"
            if count > 1
            else found.tenant_id,
            timeline=found.timeline_id,
            lsn=found.target_lsn,
            in_use=server == found.shards[number],
        )
        for number, shard in enumerate(found.candidates.named)
        for server in shard
    )


def renew_at(granted: datetime, until: datetime) -> datetime:
    """Return when a lease is renewed: a minute before its end, or at half of its time if later."""
    return max(until - RENEW_BEFORE, granted + (until - granted) / 2)


class LeaseStatus(Struct, frozen=True, kw_only=True):
    """Whether the pageservers keep the LSN of a static compute."""

    lsn: str
    valid_until: datetime | None = None
    """Of those with the pageservers in use, the end that comes first; None while one is missing."""
    error: str | None = None
    """Why a lease was not granted, None where all are; those in use come first."""
