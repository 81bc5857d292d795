"""The controller: heartbeats, what follows from a node's availability, and what operators order."""

import asyncio
from collections import defaultdict
from typing import Any

from devstack.storage_controller import schedule
from devstack.storage_controller.errors import (
    ConflictError,
    NotFoundError,
    PreconditionError,
    UnavailableError,
)
from devstack.storage_controller.events import Events, log_death
from devstack.storage_controller.heartbeats import Heartbeats
from devstack.storage_controller.model import (
    Availability,
    Mode,
    Node,
    Scheduling,
    State,
    Tenant,
)
from devstack.storage_controller.pageservers import PageserverError, Pageservers
from devstack.storage_controller.reconciler import Reconciler
from devstack.storage_controller.schedule import Move
from devstack.storage_controller.state_file import StateFile


class Controller:
    """One instance over one state. `interval`: seconds between rounds of heartbeats."""

    def __init__(
        self,
        state: State,
        file: StateFile,
        events: Events,
        *,
        pageservers: Pageservers,
        reconciler: Reconciler,
        heartbeats: Heartbeats,
        interval: float,
    ) -> None:
        self.state = state
        self.ready = asyncio.Event()
        self.operation: str | None = None
        """The background operation under way."""
        self._file = file
        self._pageservers = pageservers
        self._reconciler = reconciler
        self._heartbeats = heartbeats
        self._events = events
        self._interval = interval
        self._node_locks: defaultdict[int, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._tasks: set[asyncio.Task[Any]] = set()

    async def run(self) -> None:
        """Start up, then beat for ever."""
        due = asyncio.get_running_loop().time()
        await self._round()
        for shard in self.state.shards():  # tasks start in this order, before those of a turn
            if shard.stably_attached:
                self._in_background(self._reconciler.notify(shard))
        self._reschedule()
        self.ready.set()
        while True:
            due = max(due + self._interval, asyncio.get_running_loop().time())
            await asyncio.sleep(due - asyncio.get_running_loop().time())
            await self._round()

    async def close(self) -> None:
        """End what runs in the background."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._reconciler.close()

    def node(self, node_id: int) -> Node:
        """A node. Raises NotFoundError."""
        if node_id not in self.state.nodes:
            raise NotFoundError(f"node {node_id} not registered")
        return self.state.nodes[node_id]

    def tenant(self, tenant_id: str) -> Tenant:
        """A tenant. Raises NotFoundError."""
        if tenant_id not in self.state.tenants:
            raise NotFoundError(f"tenant {tenant_id} not found")
        return self.state.tenants[tenant_id]

    async def configure(
        self, node_id: int, availability: Availability | None, scheduling: Scheduling | None
    ) -> None:
        """Set what is given. Raises NotFoundError, PreconditionError, UnavailableError.

        Returns once the shards of a node that went offline have other places and are under way.
        """
        node = self.node(node_id)
        if self.operation is not None:
            raise PreconditionError(
                f"Ongoing background operation forbids configuring: {self.operation}"
            )
        if scheduling is not None:
            self.set_scheduling(node, scheduling)
        if availability is not None:
            await self._transit(node, availability, why="api")

    def set_scheduling(self, node: Node, scheduling: Scheduling) -> None:
        """Set whether a node may be given shards."""
        node.scheduling = scheduling
        self._file.save_nodes(node)
        self._events.record("scheduling_set", node=node.id, scheduling=scheduling.value)

    async def register(self, node: Node) -> None:
        """Take a new node, or the new addresses of one that is known."""
        known = self.state.nodes.get(node.id)
        if known is not None:
            node.scheduling, node.availability = known.scheduling, known.availability
            for name, value in vars(node).items():
                setattr(known, name, value)
        else:
            node.availability = Availability.OFFLINE
            self.state.nodes[node.id] = node
        self._file.save_nodes(node)
        if known is None:
            await self._beat([node])

    def reattach(self, node_id: int) -> list[dict[str, Any]]:
        """What a node that has just started holds, with new generations. Raises NotFoundError."""
        node = self.node(node_id)
        if not node.available:
            node.availability = Availability.WARMING_UP
            self._heartbeats.warms_up(node_id, asyncio.get_running_loop().time())
        self._events.record("node_reattached", node=node_id)
        answer = []
        for shard in self.state.shards():
            shard.observed.pop(node_id, None)
            stripe = self.state.tenants[shard.tenant_id].stripe_size
            mode, generation = Mode.SECONDARY, None
            if shard.attached == node_id:
                generation = shard.generation = self._file.next_generation(shard)
                mode = Mode.ATTACHED_SINGLE
                shard.observed[node_id] = shard.wanted
            elif node_id not in shard.secondary:
                continue
            answer.append(
                {"id": shard.id, "gen": generation, "mode": mode.value, "stripe_size": stripe}
            )
        return answer

    def create_tenant(self, tenant: Tenant, attached: list[int] | None = None) -> None:
        """Place a new tenant; `attached`: node ids by shard. Raises RefusedError, ValueError."""
        if tenant.id in self.state.tenants:
            raise ConflictError(f"tenant {tenant.id} already exists")
        if attached is not None and len(attached) != len(tenant.shards):
            raise ValueError(f"attached must name {len(tenant.shards)} nodes, not {len(attached)}")
        for shard, node_id in zip(tenant.shards, attached or [], strict=False):
            shard.attached = self.node(node_id).id
        self.state.tenants[tenant.id] = tenant
        moves = schedule.place(self.state, tenant.shards, tenant.secondaries)
        if any(shard.attached is None for shard in tenant.shards):
            del self.state.tenants[tenant.id]
            raise PreconditionError("no node may be given shards")
        self._file.save_tenant(tenant)
        self._apply(moves, why="created")
        self._reconciler.start_where_needed()

    def migrate(self, tenant_id: str, number: int, node_id: int) -> asyncio.Task[None] | None:
        """Move a shard to a node; None where it is there. Raises RefusedError."""
        tenant, node = self.tenant(tenant_id), self.node(node_id)
        if number >= len(tenant.shards):
            raise NotFoundError(f"tenant {tenant_id} has no shard {number}")
        if not node.available:
            raise PreconditionError(f"node {node_id} is offline")
        shard = tenant.shards[number]
        move = schedule.move_to(self.state, shard, node.id, tenant.secondaries)
        if move is None:
            return None
        return self._apply([move], why="order")[0]

    async def _round(self) -> None:
        await self._beat(list(self.state.nodes.values()))

    async def _beat(self, nodes: list[Node]) -> None:
        """Ask nodes; as in the reference, nothing follows before the slowest has answered."""
        answers = await asyncio.gather(*(self._pageservers.heartbeat(node) for node in nodes))
        now = asyncio.get_running_loop().time()
        for node, answered in zip(nodes, answers, strict=True):
            if answered is self._heartbeats.missed(node.id):
                self._events.record(
                    "heartbeat_back" if answered else "heartbeat_lost", node=node.id
                )
            availability = self._heartbeats.record(
                node.id, answered=answered, availability=node.availability, now=now
            )
            try:
                await self._transit(node, availability, why="heartbeat")
            except UnavailableError:
                continue  # it stays as it was until the next round

    async def _transit(self, node: Node, availability: Availability, *, why: str) -> None:
        async with self._node_locks[node.id]:
            old = node.availability
            if availability is old:
                return
            if availability is Availability.ACTIVE:
                await self._observe(node)
            if availability is Availability.WARMING_UP:
                self._heartbeats.warms_up(node.id, asyncio.get_running_loop().time())
            node.availability = availability
            self._events.record(
                "availability_set", node=node.id, availability=availability.value, why=why
            )
            if availability is Availability.OFFLINE:
                self._leave(node, why)
            elif self.ready.is_set():
                self._reschedule()

    async def _observe(self, node: Node) -> None:
        """Learn what a node holds, before anything else is asked of it. Raises UnavailableError."""
        try:
            found = await self._pageservers.locations(node)
        except PageserverError as error:
            raise UnavailableError(f"node {node.id}: {error}") from error
        for shard in self.state.shards():
            shard.observed.pop(node.id, None)
            if shard.id in found:
                shard.observed[node.id] = found[shard.id]

    def _leave(self, node: Node, why: str) -> None:
        for shard in self.state.shards():
            if node.id in shard.observed:
                shard.observed[node.id] = None
        self._apply(schedule.leave(self.state, node.id), why=why)

    def _reschedule(self) -> None:
        """Find places for shards that are nowhere, or on nodes that are away, and reconcile."""
        for tenant in self.state.tenants.values():
            moves = schedule.place(self.state, tenant.shards, tenant.secondaries)
            self._apply(moves, why="rescheduled")
        self._reconciler.start_where_needed()

    def _apply(self, moves: list[Move], *, why: str) -> list[asyncio.Task[None]]:
        """Start the reconciles of shards whose intent has changed."""
        for move in moves:
            self._events.record(
                "shard_moved",
                shard=move.shard.id,
                origin=move.origin,
                node=move.destination,
                why=why,
            )
        return [self._reconciler.start(move.shard) for move in moves]

    def _in_background(self, work: Any) -> None:
        task = asyncio.create_task(work, name="notify")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(log_death)
