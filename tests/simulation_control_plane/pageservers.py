"""Pageservers: they hold locations, answer heartbeats and readers, or do not."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from control_plane.decisions.model import StorageNode
from devstack.storage_controller.faults import FaultBook
from devstack.storage_controller.model import Node
from devstack.storage_controller.pageservers import PageserverError, Pageservers
from tests.simulation_control_plane.processes import Network, NetworkError, Process

PROBE_S = 0.3
Locations = dict[str, dict[str, Any]]


class SimNode(Process):
    """One life of a pageserver; its locations are the controller's word, and lost with it."""

    def __init__(self, number: int, host: str) -> None:
        super().__init__(f"node {number}")
        self.id = number
        self.host = host
        self.locations: Locations = {}

    @property
    def port(self) -> int:
        """Of readers."""
        return 6400

    @property
    def endpoint(self) -> str:
        """Where readers find it."""
        return f"{self.host}:{self.port}"

    def describe(self) -> Node:
        """What it registers with."""
        return Node(
            id=self.id,
            listen_http_addr=self.host,
            listen_http_port=9898,
            listen_pg_addr=self.host,
            listen_pg_port=self.port,
        )

    def holds(self, tenant_id: str) -> bool:
        """Whether it answers readers of an unsharded tenant, or of any shard of it."""
        return any(
            name.partition("-")[0] == tenant_id and body["mode"].startswith("Attached")
            for name, body in self.locations.items()
        )

    async def handle(self, method: str, path: str, body: Any) -> Any:
        """Answer the storage controller; None is 404."""
        if path == "/v1/status":
            return {"id": self.id}
        if path == "/v1/location_config":
            return {"tenant_shards": [[name, it] for name, it in self.locations.items()]}
        if method == "GET":
            return self.locations.get(path.rpartition("/")[2])
        shard = path.split("/")[3]
        await asyncio.sleep(0.02)  # an attach takes a while
        if body["mode"] == "Detached":
            self.locations.pop(shard, None)
        else:
            self.locations[shard] = {"mode": body["mode"], "generation": body["generation"]}
        return {}


class SimPageservers(Pageservers):
    """The storage controller's client of them."""

    def __init__(self, owner: Process, network: Network, nodes: Mapping[int, SimNode]) -> None:
        super().__init__(FaultBook(), token=None, heartbeat_deadline=1.0, scale=1.0)
        self._owner = owner
        self._network = network
        self._nodes = nodes

    async def _call(
        self, node: Node, method: str, path: str, body: Any = None, *, deadline: float = 10.0
    ) -> Any:
        life = self._nodes[node.id]
        if life.host != node.listen_http_addr:
            raise PageserverError("no route to host")
        try:
            return await self._network.call(
                self._owner, life, lambda: life.handle(method, path, body), timeout_s=deadline
            )
        except NetworkError as error:
            raise PageserverError(str(error)) from error


class SimProber:
    """The control plane's look whether a node lives."""

    def __init__(self, owner: Process, network: Network, nodes: Mapping[int, SimNode]) -> None:
        self._owner = owner
        self._network = network
        self._nodes = nodes
        self.seen: list[tuple[float, int, str]] = []
        """Time, node and what came of each probe."""

    async def probe(self, node: StorageNode) -> str:
        """See `ports.Prober`."""
        life = self._nodes[node.id]
        failure = "" if life.host == node.listen_pg_addr else "no route to host"
        try:
            await self._network.call(
                self._owner, life, lambda: life.handle("GET", "/v1/status", None), timeout_s=PROBE_S
            )
        except NetworkError as error:
            failure = str(error)
        self.seen.append((asyncio.get_running_loop().time(), node.id, failure))
        return failure
