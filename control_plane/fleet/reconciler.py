"""Compares what is published with what the storage controller says, and publishes the difference.

A notification is a hint that may be lost, doubled, late or reordered. So the place of a tenant is
always read anew: after every hook, when a compute was turned away, at the start, and of all tenants
every 30 s.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable
from typing import Final

from control_plane.decisions.floor import ahead
from control_plane.decisions.model import NodeList, Placement, PlacementSource, SafekeeperSet
from control_plane.errors import ControllerError, StoreError
from control_plane.fleet.registry import Registry
from control_plane.ports import Clock, StorageController

logger = logging.getLogger(__name__)

INTERVAL_S: Final = 30.0
"""Between two comparisons of all tenants, give or take a fifth."""
LOCATE_S: Final = 2.0
RETRY_MAX_S: Final = 5.0
CONCURRENT: Final = 16
"""Tenants asked for at the same time."""
REPUBLISHED: Final = 100
"""Computes whose documents are raised in one commit; nobody else is served while that is made."""
TURNED_AWAY: Final = "wrong"
"""The class of suspicion of a compute whose map is stale."""


class Reconciler:
    """Makes documents follow the storage controller; without one it only raises generations."""

    def __init__(
        self,
        *,
        registry: Registry,
        controller: StorageController | None,
        clock: Clock,
        jitter: Callable[[], float],
    ) -> None:
        """*jitter* returns a random number from 0 to 1."""
        self._registry = registry
        self._controller = controller
        self._clock = clock
        self._jitter = jitter
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._nodes_lock = asyncio.Lock()
        self._requested: set[str] = set()
        self._ahead: set[str] = set()
        """Computes that reported a generation above ours."""
        self._wake = asyncio.Event()
        self._failed_in_round = False
        self.failures_in_a_row = 0
        """Rounds in a row in which the controller or the store did not answer."""
        self.nodes_read_at: float | None = None
        """Monotonic seconds; of the question, not of the answer."""
        self.controller_failure = ""
        """Why the controller did not answer last; '' where it did."""
        self.controller_failures = 0
        registry.presence.on_report.append(self._on_report)
        registry.on_published.append(self._note_if_ahead)

    async def run(self) -> None:
        """Compare until cancelled."""
        due = self._clock.monotonic()
        while True:
            self._failed_in_round = False
            if self._clock.monotonic() >= due:
                due = self._clock.monotonic() + INTERVAL_S * (0.8 + 0.4 * self._jitter())
                await self.reconcile_all()
            await self._serve_requests()
            self.failures_in_a_row = self.failures_in_a_row + 1 if self._failed_in_round else 0
            await self._sleep(due)

    def request(self, tenant_id: str) -> None:
        """Compare a tenant soon; repeated until the storage controller answers."""
        self._requested.add(tenant_id)
        self._wake.set()

    async def reconcile(self, tenant_id: str, *, within_s: float = LOCATE_S) -> bool:
        """Read where a tenant is and publish it; return whether that could be read.

        Raises:
            StoreError: it could not be published.
        """
        if self._controller is None:
            return False
        lock = self._locks[tenant_id]  # an older answer must not come after a newer one
        try:
            async with asyncio.timeout(within_s) as deadline, lock:
                placement = await self._controller.locate(tenant_id)
                deadline.reschedule(None)  # what was read is published
                self.controller_failure = ""
                if placement is None:
                    return False
                await self.place(tenant_id, placement, PlacementSource.LOCATE)
                return True
        except (ControllerError, TimeoutError) as error:
            self._failed(error)
            return False

    async def place(
        self, tenant_id: str, placement: Placement, source: PlacementSource
    ) -> tuple[str, ...]:
        """Publish *placement*, after reading the node list where it names an unknown node.

        Raises:
            StoreError: it could not be published.
        """
        known = {node.id for node in self._registry.nodes.nodes}
        if not known.issuperset(placement.nodes):
            await self.refresh_nodes()
        return await self._registry.place(tenant_id, placement, source)

    async def place_safekeepers(
        self, tenant_id: str, timeline_id: str, new: SafekeeperSet
    ) -> tuple[str, ...]:
        """Publish safekeepers, after reading the list of them where one is unknown.

        Raises:
            RequestError: 409, see `Registry.place_safekeepers`.
            StoreError: they could not be published.
        """
        known = {one.id for one in self._registry.nodes.safekeepers}
        if not known.issuperset(one.id for one in new.safekeepers):
            await self.refresh_nodes()
        return await self._registry.place_safekeepers(tenant_id, timeline_id, new)

    async def refresh_nodes(self) -> bool:
        """Read the node list; return whether that could be done. Raises StoreError."""
        if self._controller is None:
            return False
        async with self._nodes_lock:  # an older answer must not come after a newer one
            asked_at = self._clock.monotonic()
            try:
                nodes = await self._controller.nodes()
                safekeepers = await self._controller.safekeepers()
            except ControllerError as error:
                self._failed(error)
                return False
            self.controller_failure = ""
            listed = NodeList(
                nodes=tuple(sorted(nodes, key=lambda one: one.id)),
                safekeepers=tuple(sorted(safekeepers, key=lambda one: one.id)),
            )
            await self._registry.set_nodes(listed)
            self.nodes_read_at = asked_at
        return True

    async def reconcile_all(self) -> None:
        """Compare the node list and all tenants that have computes."""
        if self._controller is None:
            return
        tenants = {it.tenant_id for it in self._registry.computes.values() if it.tenant_id}
        try:
            answered = await self.refresh_nodes()
        except StoreError:
            answered = False
        if not answered:
            self._again(tenants)
            return
        await self._reconcile_each(tenants)

    async def _reconcile_each(self, tenants: set[str]) -> None:
        room = asyncio.Semaphore(CONCURRENT)

        async def one(tenant_id: str) -> None:
            async with room:
                try:
                    done = await self.reconcile(tenant_id)
                except StoreError:
                    done = False
            if not done and (self.controller_failure or self._registry.store_failure):
                self._again({tenant_id})

        async with asyncio.TaskGroup() as group:
            for tenant_id in sorted(tenants):
                group.create_task(one(tenant_id))

    async def _serve_requests(self) -> None:
        requested, self._requested = self._requested, set()
        ahead_of_us, self._ahead = sorted(self._ahead), set()
        for begin in range(0, len(ahead_of_us), REPUBLISHED):
            group = ahead_of_us[begin : begin + REPUBLISHED]
            try:
                await self._registry.republish(group)
            except StoreError:
                self._ahead.update(group)
                self._failed_in_round = True
        if self._failed_in_round:
            self._again(requested)
        elif self._controller is not None:
            await self._reconcile_requested(requested)

    async def _reconcile_requested(self, tenants: set[str]) -> None:
        """Compare *tenants*.

        After a failure the controller is asked for its nodes first: while it is down, that is one
        question a round, not one for each tenant.
        """
        if self.failures_in_a_row:
            try:
                answered = await self.refresh_nodes()
            except StoreError:
                answered = False
            if not answered:
                self._again(tenants)
                return
        await self._reconcile_each(tenants)

    def _again(self, tenants: set[str]) -> None:
        """Compare *tenants* in the next round: this one has failed."""
        self._requested |= tenants
        self._failed_in_round = True

    async def _sleep(self, due: float) -> None:
        """Wait until the next comparison of all, a request, or a retry."""
        pause = max(0.0, due - self._clock.monotonic())
        if self.failures_in_a_row:
            await asyncio.sleep(min(pause, 2.0 ** min(self.failures_in_a_row - 1, 5), RETRY_MAX_S))
            return
        try:
            async with asyncio.timeout(pause):
                await self._wake.wait()
        except TimeoutError:
            return
        self._wake.clear()

    def _on_report(self, compute_id: str) -> None:
        self._note_if_ahead(compute_id)
        record = self._registry.computes.get(compute_id)
        report = self._registry.presence.of(compute_id).report
        if record is None or report is None:
            return
        if record.tenant_id and any(one.trouble == TURNED_AWAY for one in report.suspicions):
            self.request(record.tenant_id)

    def _note_if_ahead(self, compute_id: str) -> None:
        """Publish to a compute again soon if it has reported a generation above ours.

        Called after each publication, too: the compute may have reported before its first document.
        """
        record = self._registry.computes.get(compute_id)
        if record and ahead(record, self._registry.presence.of(compute_id).report):
            self._ahead.add(compute_id)
            self._wake.set()

    def _failed(self, error: Exception) -> None:
        text = str(error) or "the storage controller did not answer in time"
        if not self.controller_failure:
            logger.error("%s", text)
        self.controller_failure = text
        self.controller_failures += 1
