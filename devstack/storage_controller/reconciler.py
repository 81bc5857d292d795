"""Makes pageservers hold what is intended, shard by shard, and has the control plane told.

As the reference's reconciler.rs: first the attached location, by live migration where its old node
answers; then the notification; then warm copies and locations to give up. A failure ends the turn;
the background loop tries again. A change of intent cancels the turn that is under way.
"""

import asyncio
import logging

from devstack.storage_controller import hook_rules, plan
from devstack.storage_controller.compute_hook import ComputeHook
from devstack.storage_controller.events import Events, log_death
from devstack.storage_controller.hook_rules import Result
from devstack.storage_controller.model import Location, Mode, Shard, State
from devstack.storage_controller.pageservers import PageserverError, Pageservers
from devstack.storage_controller.state_file import StateFile, StateFileError

log = logging.getLogger(__name__)


class ReconcileError(Exception):
    """This turn came to nothing."""


class Reconciler:
    """One task for each shard that needs it. `scale` multiplies pauses."""

    def __init__(
        self,
        state: State,
        file: StateFile,
        pageservers: Pageservers,
        hook: ComputeHook,
        events: Events,
        *,
        scale: float,
    ) -> None:
        self._state = state
        self._file = file
        self._pageservers = pageservers
        self._hook = hook
        self._events = events
        self._scale = scale
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def start(self, shard: Shard) -> asyncio.Task[None]:
        """Reconcile a shard now; a turn under way is cancelled."""
        old = self._tasks.get(shard.id)
        if old is not None:
            old.cancel()
        shard.reconciling = True
        task = asyncio.create_task(self._turn(shard, old), name=f"reconcile {shard.id}")
        self._tasks[shard.id] = task
        task.add_done_callback(log_death)
        return task

    def start_where_needed(self) -> None:
        """Reconcile every shard that differs from what is intended and is not in a turn."""
        for shard in self._state.shards():
            if not shard.reconciling and plan.differs(shard, self._state.nodes):
                _ = self.start(shard)

    async def run(self) -> None:
        """Look every 20 s."""
        while True:
            await asyncio.sleep(hook_rules.RECONCILE_SECONDS * self._scale)
            self.start_where_needed()

    async def close(self) -> None:
        """End all turns."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def notify(self, shard: Shard, *, creating: bool = False) -> Result:
        """Have the control plane told, and remember whether it must be told again."""
        result = await self._hook.attached(shard, creating=creating)
        shard.pending_notification = result is not Result.OK
        return result

    async def _turn(self, shard: Shard, old: asyncio.Task[None] | None) -> None:
        try:
            if old is not None:
                await asyncio.wait({old})
            must_notify = shard.pending_notification
            await self._reconcile(shard)
            if must_notify:
                await self.notify(shard)
        except (ReconcileError, PageserverError, StateFileError, OSError) as error:
            self._events.record("reconcile_failed", shard=shard.id, reason=str(error))
            log.warning("could not reconcile %s: %s", shard.id, error)
        finally:
            if self._tasks[shard.id] is asyncio.current_task():
                del self._tasks[shard.id]
                shard.reconciling = False

    async def _reconcile(self, shard: Shard) -> None:
        nodes = self._state.nodes
        if shard.attached is not None:
            node = nodes[shard.attached]
            if shard.observed.get(node.id, plan.DETACHED) is None:
                self._observe(shard, node.id, await self._pageservers.location(node, shard))
            origin = plan.migration_origin(shard, nodes)
            if origin is not None:
                await self._migrate(shard, origin, node.id)
            elif not shard.stably_attached:
                await self._attach(shard, node.id)
        for node_id, location in plan.changes(shard, nodes):
            await self._put(shard, node_id, location)

    async def _attach(self, shard: Shard, node_id: int) -> None:
        creating = shard.generation == 0
        shard.generation = self._file.next_generation(shard)
        await self._put(shard, node_id, shard.wanted)
        result = await self.notify(shard, creating=creating)
        if result is not Result.OK:
            raise ReconcileError(f"the control plane was not told: {result.value}")

    async def _migrate(self, shard: Shard, origin: int, destination: int) -> None:
        """Attach at both, have the control plane told, then give up the old place."""
        self._events.record("migration_began", shard=shard.id, origin=origin, node=destination)
        stale = Location(mode=Mode.ATTACHED_STALE, generation=shard.generation)
        await self._put(shard, origin, stale)
        shard.generation = self._file.next_generation(shard)
        both = Location(mode=Mode.ATTACHED_MULTI, generation=shard.generation)
        await self._put(shard, destination, both)
        await self._notify_blocking(shard, origin)
        if self._state.nodes[origin].available:
            await self._put(shard, origin, plan.SECONDARY)
        await self._put(shard, destination, shard.wanted)
        self._events.record("migration_ended", shard=shard.id, origin=origin, node=destination)

    async def _notify_blocking(self, shard: Shard, origin: int) -> None:
        """Notify until it is heard, or until the old place is of no use any more."""
        attempt = 0
        while (result := await self.notify(shard)) is not Result.OK:
            if result is Result.FATAL:
                raise ReconcileError("the control plane refuses the notification")
            if not await self._still_serves(shard, origin):
                return
            await asyncio.sleep(hook_rules.migration_pause(attempt) * self._scale)
            attempt += 1

    async def _still_serves(self, shard: Shard, node_id: int) -> bool:
        node = self._state.nodes[node_id]
        if not node.available:
            return False
        try:
            location = await self._pageservers.location(node, shard)
        except PageserverError:
            return True  # nobody knows
        return location is not None and location.attached

    async def _put(self, shard: Shard, node_id: int, location: Location) -> None:
        shard.observed[node_id] = None  # until it has answered
        tenant = self._state.tenants[shard.tenant_id]
        await self._pageservers.put(self._state.nodes[node_id], tenant, shard, location)
        self._observe(shard, node_id, location)
        self._events.record(
            "location_set",
            shard=shard.id,
            node=node_id,
            mode=location.mode.value,
            generation=location.generation,
        )

    @staticmethod
    def _observe(shard: Shard, node_id: int, location: Location | None) -> None:
        if location is None or location.mode is Mode.DETACHED:
            shard.observed.pop(node_id, None)
        else:
            shard.observed[node_id] = location
