"""One life of the control plane: its real registry, reconciler, judge and handlers."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import msgspec

from compute_common.errors import ComputeError, RequestError
from compute_common.http.api import ApiResponse
from control_plane.decisions.model import NodeList
from control_plane.decisions.report_limits import ReportRate
from control_plane.errors import StoreError
from control_plane.fleet.judge import Judge
from control_plane.fleet.reconciler import Reconciler
from control_plane.fleet.registry import Registry
from control_plane.http import hooks, reports, spec
from control_plane.http.api import Api, ApiCall
from control_plane.http.holds import Holds
from tests.simulation_control_plane.controllers import StorageClient
from tests.simulation_control_plane.pageservers import SimProber
from tests.simulation_control_plane.processes import Process
from tests.simulation_control_plane.store import SimStore

if TYPE_CHECKING:
    from tests.simulation_control_plane.topology import Topology

HOOKS = {"notify-attach": hooks.notify_attach, "notify-safekeepers": hooks.notify_safekeepers}
Handler = Callable[[ApiCall], Awaitable[ApiResponse]]


class WatchedRegistry(Registry):
    """Calls `on_nodes` with each list of nodes that it takes."""

    on_nodes: Callable[[NodeList], None] = staticmethod(lambda _listed: None)

    async def set_nodes(self, listed: NodeList) -> None:
        """Call `on_nodes`, then take the list."""
        self.on_nodes(listed)
        await super().set_nodes(listed)


class ControlPlane(Process):
    """One process; `ready` once the store was read."""

    def __init__(self, world: Topology) -> None:
        super().__init__("control plane")
        self.ready = False
        self.store = store = SimStore(world.disk, self)
        self.registry = WatchedRegistry(store=store, clock=world, managed=True)
        self.registry.on_nodes = partial(world.history.takes_nodes, self)
        rng = random.Random(world.rng.random())
        self.prober = SimProber(self, world.network, world.nodes)
        self.client = client = self._client(world, rng)
        self.reconciler = Reconciler(
            registry=self.registry, controller=client, clock=world, jitter=rng.random
        )
        self.judge = Judge(
            registry=self.registry,
            reconciler=self.reconciler,
            controller=client,
            prober=self.prober,
            store=store,
            clock=world,
            holder=f"holder {rng.random()}",
            act=world.act,
            quorum=world.quorum,
        )
        self._api = cast(
            Api,  # what the handlers of hooks, documents and reports use of it
            SimpleNamespace(
                clock=world,
                registry=self.registry,
                reconciler=self.reconciler,
                overloaded=lambda: False,
                polls=Holds(limit=1000),
                hooks=Holds(limit=1000),
                report_rate=ReportRate(),
            ),
        )

    def _client(self, world: Topology, rng: random.Random) -> StorageClient:
        return StorageClient(
            self,
            world.network,
            lambda: world.leader,
            on_offline=world.history.declared_offline,
            on_nodes=world.history.nodes_read,
            trouble=world.lists,
            rng=rng,
            ports=world.safekeeper_ports,
        )

    async def run(self) -> None:
        """Read the store and serve until killed."""
        while True:
            try:
                await self.registry.load()
                break
            except StoreError:
                await asyncio.sleep(0.5)
        self.ready = True
        for name, part in (
            ("watch", self.registry),
            ("reconciler", self.reconciler),
            ("judge", self.judge),
        ):
            self.loop_task(part.run(), name)
        await asyncio.get_running_loop().create_future()

    # Requests; each raises RequestError

    async def hook(self, hook: str, body: dict[str, Any]) -> ApiResponse:
        """Answer the storage controller."""
        return await self._handle(HOOKS[hook], body=msgspec.json.encode(body))

    async def spec(self, compute_id: str, headers: Mapping[str, str]) -> ApiResponse:
        """Answer a compute that asks for its document."""
        return await self._handle(spec.spec, compute_id, headers=headers)

    async def report(self, compute_id: str, body: bytes) -> ApiResponse:
        """Take a compute's report."""
        return await self._handle(reports.report, compute_id, body=body)

    async def put(self, compute_id: str, document: bytes) -> bool:
        """Take an operator's document; return whether it is stored."""
        if not self.ready:
            return False
        try:
            result = await self.registry.put(compute_id, document)
            if result.record.published is None and result.record.tenant_id is not None:
                await self.reconciler.reconcile(result.record.tenant_id)
        except ComputeError:
            return False
        return True

    async def _handle(
        self,
        handler: Handler,
        compute_id: str = "",
        *,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
    ) -> ApiResponse:
        if not self.ready:
            raise RequestError(503, "starting")
        call = ApiCall(
            api=self._api,
            listener="public",
            who="simulation",
            path={"id": compute_id},
            query={},
            headers=headers or {},
            body=body,
        )
        return await handler(call)
