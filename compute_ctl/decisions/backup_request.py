"""Which base backup a compute starts from. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from compute_ctl.document.body import Body
from compute_ctl.document.spec_sources import SAFEKEEPERS


@dataclass(frozen=True, kw_only=True, slots=True)
class BackupRequest:
    """Which base backup to take, and from where."""

    server: str
    """Connection string of the pageserver of shard 0, without a password."""
    others: tuple[str, ...] = ()
    """Further pageservers of that shard, tried in this order where it gives none."""
    tenant: str
    timeline: str
    mode: str
    """``primary``, ``replica`` or ``static``."""
    lsn: str | None = None
    """None for the newest."""
    token: str | None = field(default=None, repr=False)
    safekeepers: str = ""

    @classmethod
    def of(cls, body: str, token: str | None) -> BackupRequest | None:
        """Return what a configuration file says of it, None where it names no such storage."""
        found = Body.read(body)
        if not (found.tenant_id and found.timeline_id and found.shards):
            return None
        return cls(
            server=found.shards[0],
            others=found.candidates.others(0),
            tenant=found.tenant_id,
            timeline=found.timeline_id,
            mode=found.mode,
            lsn=found.target_lsn if found.mode == "static" else None,
            token=token,
            safekeepers=found.servers.get(SAFEKEEPERS, ""),
        )

    @property
    def servers(self) -> int:
        """How many pageservers may be asked."""
        return 1 + len(self.others)

    def names(self, server: str) -> bool:
        """Whether *server* is one of them."""
        return server in (self.server, *self.others)

    def at(self, number: int) -> BackupRequest:
        """Return the request to the pageserver of that *number*, from 0; it wraps around."""
        return replace(self, server=(self.server, *self.others)[number % self.servers])

    @property
    def is_primary(self) -> bool:
        """Whether the compute writes."""
        return self.mode == "primary"

    def command(self, lsn: str | None = None) -> str:
        """Return the pageserver's command; *lsn* is where the safekeepers agree the log ends."""
        words = ["basebackup", self.tenant, self.timeline, self.lsn or lsn or "", "--gzip"]
        if not self.is_primary:
            words.append("--replica")
        return " ".join(word for word in words if word)
