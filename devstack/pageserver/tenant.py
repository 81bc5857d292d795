"""What this server holds: one tenant with one timeline, its state, and how far its WAL came."""

import asyncio
import enum
from collections.abc import Callable
from dataclasses import dataclass, field

from devstack.pageserver.messages import MAX_LSN
from devstack.pageserver.sharding import Ownership


class TenantState(enum.Enum):
    """Each state has its own symptom for a client; see `service`."""

    ACTIVE = "active"
    DETACHED = "detached"  # the server has never heard of it
    SECONDARY = "secondary"  # a warm copy: to a client the same as detached
    ATTACHING = "attaching"  # silence until it is active
    STOPPING = "stopping"
    BROKEN = "broken"
    TIMELINE_MISSING = "timeline_missing"
    TIMELINE_STOPPING = "timeline_stopping"


@dataclass(kw_only=True)
class Tenant:
    """The tenant; change it through `update`, which wakes those who wait for a change."""

    tenant_id: str
    timeline_id: str
    ownership: Ownership
    state: TenantState = TenantState.ACTIVE
    last_record_lsn: int = MAX_LSN  # everything has arrived
    gc_cutoff: int = 0  # nothing was collected
    _changed: asyncio.Event = field(default_factory=asyncio.Event, repr=False)

    def update(
        self,
        *,
        state: TenantState | None = None,
        ownership: Ownership | None = None,
        last_record_lsn: int | None = None,
        gc_cutoff: int | None = None,
    ) -> None:
        """Change what is given and wake every waiter."""
        self.state = self.state if state is None else state
        self.ownership = self.ownership if ownership is None else ownership
        self.last_record_lsn = self.last_record_lsn if last_record_lsn is None else last_record_lsn
        self.gc_cutoff = self.gc_cutoff if gc_cutoff is None else gc_cutoff
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def wait_for(self, predicate: Callable[[], bool], seconds: float) -> bool:
        """Wait until `predicate` holds; False after `seconds`."""
        if predicate():
            return True
        try:
            async with asyncio.timeout(seconds):
                while not predicate():
                    await self._changed.wait()
        except TimeoutError:
            return False
        return True
