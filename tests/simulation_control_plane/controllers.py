"""The storage controller: the stand-in of devstack, on simulated network and database."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import msgspec

from control_plane.decisions.model import Placement, StorageNode, StorageSafekeeper
from control_plane.errors import BusyError, ControllerError
from devstack.storage_controller.compute_hook import ComputeHook
from devstack.storage_controller.controller import Controller
from devstack.storage_controller.errors import PreconditionError, RefusedError
from devstack.storage_controller.events import Events
from devstack.storage_controller.faults import FaultBook
from devstack.storage_controller.heartbeats import Heartbeats
from devstack.storage_controller.hook_rules import TIMEOUT_SECONDS, Body, Result, result_of
from devstack.storage_controller.hook_sender import Answer, HookSender
from devstack.storage_controller.model import Availability, Tenant
from devstack.storage_controller.operations import Operations
from devstack.storage_controller.reconciler import Reconciler
from devstack.storage_controller.safekeepers import Safekeepers
from devstack.storage_controller.state_file import TABLES, Rows, StateFile
from tests.simulation_control_plane.pageservers import SimNode, SimPageservers
from tests.simulation_control_plane.processes import Network, NetworkError, Process

Send = Callable[[Process, str, Body], Awaitable[int]]
"""Sends a hook; returns the status. Raises NetworkError."""


class Database(StateFile):
    """The rows that all controllers share."""

    def __init__(self) -> None:
        super().__init__(Path("/none"))
        self.rows: dict[str, Rows] = {table: {} for table in TABLES}

    @contextmanager
    def _changing(self) -> Iterator[dict[str, Rows]]:
        yield self.rows

    def _read(self) -> dict[str, Rows]:
        return deepcopy(self.rows)


class Watched(Events):
    """Tells whoever watches when a controller changes its mind on shards, or on nodes."""

    def __init__(self, on_move: Callable[[], None], on_node: Callable[[], None]) -> None:
        super().__init__()
        self._calls = {"shard_moved": on_move, "availability_set": on_node}

    def record(self, kind: str, **details: Any) -> None:
        """Keep nothing."""
        if kind in self._calls:
            self._calls[kind]()


class SimHookSender(HookSender):
    """Sends hooks through the simulated network."""

    def __init__(self, owner: Process, faults: FaultBook, send: Send) -> None:
        super().__init__("http://control-plane", faults, Events(), token=None, scale=1.0)
        self._owner = owner
        self._send_hook = send

    async def _request(self, hook: str, body: Body, **details: Any) -> Answer:
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                status = await self._send_hook(self._owner, hook, body)
        except (NetworkError, TimeoutError):
            return Answer(result=Result.REQUEST)
        return Answer(result=result_of(status), status=status)


class SimController(Process):
    """One life of a storage controller."""

    def __init__(
        self,
        name: str,
        *,
        database: Database,
        network: Network,
        nodes: Mapping[int, SimNode],
        faults: FaultBook,
        send: Send,
        on_move: Callable[[SimController], None],
        on_node: Callable[[], None],
        heartbeat_s: float,
        offline_after_s: float,
    ) -> None:
        super().__init__(name)
        state, events = database.load(), Watched(lambda: on_move(self), on_node)
        self.state = state
        self._hook = hook = ComputeHook(state, SimHookSender(self, faults, send))
        pageservers = SimPageservers(self, network, nodes)
        self._reconciler = Reconciler(state, database, pageservers, hook, events, scale=1.0)
        self.safekeepers = Safekeepers(state, database, hook, events, scale=1.0)
        self.controller = Controller(
            state,
            database,
            events,
            pageservers=pageservers,
            reconciler=self._reconciler,
            heartbeats=Heartbeats(offline_after=offline_after_s),
            interval=heartbeat_s,
        )
        self.operations = Operations(self.controller, events)

    def start(self) -> None:
        """Begin to work."""
        self.loop_task(self.controller.run(), "heartbeats")
        self.loop_task(self._reconciler.run(), "reconciler")
        for timeline in self.state.timelines.values():
            if timeline.new_members is not None:  # the change goes on where it was
                self.change(timeline.tenant_id, timeline.timeline_id, timeline.new_members)
            else:
                _ = self.spawn(self._tell(timeline.tenant_id, timeline.timeline_id), "safekeepers")

    async def _tell(self, tenant_id: str, timeline_id: str) -> None:
        timeline = self.state.timelines[tenant_id, timeline_id]
        await self.safekeepers._tell(timeline)

    def change(self, tenant_id: str, timeline_id: str, members: list[int]) -> None:
        """Begin to move a timeline to other safekeepers."""

        async def change() -> None:
            try:
                self.safekeepers.change(tenant_id, timeline_id, members, finish=True)
            except RefusedError:
                return

        _ = self.spawn(change(), "safekeepers")

    @property
    def busy(self) -> str:
        """What it has not done yet, '' for nothing."""
        if not self.controller.ready.is_set():
            return "it starts"
        for shard in self.state.shards():
            if shard.pending_notification or shard.reconciling:
                return f"shard {shard.id}"
        for key, timeline in self.state.timelines.items():
            told = self._hook._acknowledged[key] == timeline.generation
            if not told or timeline.new_members is not None:
                return f"safekeepers of {key}"
        return ""

    def places(self, tenant_id: str) -> tuple[int | None, ...]:
        """Where a tenant's shards are meant to be."""
        tenant = self.state.tenants[tenant_id]
        return tuple(shard.attached for shard in tenant.shards)


@dataclass(kw_only=True)
class ListTrouble:
    """Faults in the storage controller's answers with its list of nodes."""

    fails: bool = False
    late_s: float = 0.0
    """Each answer is late by a random time up to this."""


class StorageClient:
    """The control plane's client of whichever controller answers; see `ports.StorageController`."""

    def __init__(
        self,
        owner: Process,
        network: Network,
        current: Callable[[], SimController],
        *,
        on_offline: Callable[[Process, int], None],
        on_nodes: Callable[[Process, tuple[StorageNode, ...]], None],
        trouble: ListTrouble,
        rng: Random,
        ports: Mapping[int, int],
    ) -> None:
        self._owner = owner
        self._network = network
        self._current = current
        self._on_offline = on_offline
        self._on_nodes = on_nodes
        self._trouble = trouble
        self._rng = rng
        self._safekeeper_ports = ports
        self.failed_at = 0.0
        """When it could not be asked last."""

    async def _ask(self, work: Callable[[SimController], Any], timeout_s: float = 2.0) -> Any:
        target = self._current()

        async def handle() -> Any:
            found = work(target)
            return await found if asyncio.iscoroutine(found) else found

        try:
            return await self._network.call(self._owner, target, handle, timeout_s=timeout_s)
        except NetworkError as error:
            self.failed_at = asyncio.get_running_loop().time()
            raise ControllerError(str(error)) from error
        except PreconditionError as error:
            raise BusyError(str(error)) from error
        except (RefusedError, ValueError) as error:
            raise ControllerError(str(error)) from error

    async def nodes(self) -> tuple[StorageNode, ...]:
        """See `ports.StorageController`."""

        async def read(it: SimController) -> tuple[StorageNode, ...]:
            listed = [node.describe() for _, node in sorted(it.state.nodes.items())]
            nodes = msgspec.convert(listed, tuple[StorageNode, ...])
            self._on_nodes(self._owner, nodes)
            if self._trouble.late_s:
                await asyncio.sleep(self._rng.uniform(0.0, self._trouble.late_s))
            return nodes

        if self._trouble.fails:
            raise ControllerError("the list of nodes cannot be read")
        found: tuple[StorageNode, ...] = await self._ask(read)
        return found

    async def safekeepers(self) -> tuple[StorageSafekeeper, ...]:
        """See `ports.StorageController`."""
        found = await self._ask(lambda it: sorted(it.state.safekeepers))
        return tuple(
            StorageSafekeeper(id=number, host=f"sk-{number}", port=self._safekeeper_ports[number])
            for number in found
        )

    async def locate(self, tenant_id: str) -> Placement | None:
        """See `ports.StorageController`."""

        def locate(it: SimController) -> Placement | None:
            tenant = it.state.tenants.get(tenant_id)
            return None if tenant is None else placement_of(tenant, tenant.locate(it.state.nodes))

        found: Placement | None = await self._ask(locate)
        return found

    async def set_offline(self, node_id: int) -> None:
        """See `ports.StorageController`."""

        async def offline(it: SimController) -> None:
            if it.controller.operation is None:
                self._on_offline(self._owner, node_id)
            await it.controller.configure(node_id, Availability.OFFLINE, None)

        await self._ask(offline, timeout_s=5.0)

    async def close(self) -> None:
        """There is nothing to close."""


def placement_of(tenant: Tenant, located: dict[str, Any]) -> Placement:
    """Return the placement in an answer to `locate`."""
    count = tenant.shard_count
    return Placement(
        nodes=tuple(shard["node_id"] for shard in located["shards"]),
        shard_count=count if count > 1 else 0,
        stripe_size=tenant.stripe_size if count > 1 else None,
    )
