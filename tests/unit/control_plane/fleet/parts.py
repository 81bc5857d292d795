"""The fleet's parts on a store in memory, with a storage controller and probes that tests set."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

import msgspec

from control_plane.decisions.model import (
    Placement,
    Report,
    ReportedDocument,
    StorageNode,
    StorageSafekeeper,
    Suspicion,
)
from control_plane.errors import ControllerError, PushError
from control_plane.fleet.judge import Judge
from control_plane.fleet.reconciler import Reconciler
from control_plane.fleet.registry import Registry
from tests.support.clock import FakeClock
from tests.support.memory_store import MemoryStore
from tests.unit.control_plane.records import TENANT, TIMELINE, node


@dataclass
class FakeController:
    """A storage controller whose answers are fields."""

    listed: list[StorageNode] = field(default_factory=lambda: [node(1), node(2), node(3)])
    places: dict[str, Placement] = field(default_factory=dict)
    failure: str = ""
    refusals: list[Exception] = field(default_factory=list)
    """What the next calls of `set_offline` raise."""
    offline: list[int] = field(default_factory=list)
    """The nodes that were said to be offline."""
    located: int = 0

    def _fail(self) -> None:
        if self.failure:
            raise ControllerError(self.failure)

    async def nodes(self) -> tuple[StorageNode, ...]:
        """Return the nodes."""
        self._fail()
        return tuple(self.listed)

    async def safekeepers(self) -> tuple[StorageSafekeeper, ...]:
        """Return five safekeepers."""
        self._fail()
        return tuple(StorageSafekeeper(id=it, host=f"sk-{it}", port=5454) for it in range(1, 6))

    async def locate(self, tenant_id: str) -> Placement | None:
        """Return the place of a tenant."""
        self.located += 1
        self._fail()
        return self.places.get(tenant_id)

    async def set_offline(self, node_id: int) -> None:
        """Note that a node is offline, as the real one does."""
        if self.refusals:
            raise self.refusals.pop(0)
        self._fail()
        self.offline.append(node_id)
        self.set_availability(node_id, "Offline")

    def set_availability(self, node_id: int, availability: str) -> None:
        """Change a node of the list."""
        self.listed = [
            msgspec.structs.replace(one, availability=availability) if one.id == node_id else one
            for one in self.listed
        ]

    async def close(self) -> None:
        """Nothing to close."""


@dataclass
class FakeProber:
    """Says which nodes are down."""

    down: set[int] = field(default_factory=set)
    probed: list[int] = field(default_factory=list)
    answers_after: dict[int, int] = field(default_factory=dict)
    """By node: probes after which it answers again."""

    async def probe(self, node: StorageNode) -> str:
        """Return what the probe met."""
        self.probed.append(node.id)
        left = self.answers_after.get(node.id)
        if left is not None and self.probed.count(node.id) > left:
            return ""
        return "connection refused" if node.id in self.down else ""


@dataclass
class FakePusher:
    """A daemon that is told."""

    failures: list[PushError] = field(default_factory=list)
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    """Without it, whatever comes after the failures waits."""
    taken: list[tuple[str, int]] = field(default_factory=list)

    async def push(self, url: str, document: bytes, *, compute_id: str) -> None:
        """Take the document, unless the next failure is due."""
        if self.failures:
            raise self.failures.pop(0)
        await self.ready.wait()
        self.taken.append((url, msgspec.json.decode(document)["spec"]["generation"]))


@dataclass
class Fleet:
    """Registry and reconciler, and what is around them."""

    store: MemoryStore = field(default_factory=MemoryStore)
    clock: FakeClock = field(default_factory=FakeClock)
    controller: FakeController = field(default_factory=FakeController)
    prober: FakeProber = field(default_factory=FakeProber)
    registry: Registry = field(init=False)
    reconciler: Reconciler = field(init=False)

    def __post_init__(self) -> None:
        """Build what a process has; again for its restart."""
        self.restart()

    def restart(self) -> None:
        """Begin anew on the same store, with nothing in memory."""
        self.registry = Registry(store=self.store, clock=self.clock, managed=True)
        self.reconciler = Reconciler(
            registry=self.registry,
            controller=self.controller,
            clock=self.clock,
            jitter=lambda: 0.5,
        )

    def judge(self, *, act: bool = True, quorum: int = 2) -> Judge:
        """Return a judge."""
        return Judge(
            registry=self.registry,
            reconciler=self.reconciler,
            controller=self.controller,
            prober=self.prober,
            store=self.store,
            clock=self.clock,
            holder="me",
            act=act,
            quorum=quorum,
        )

    async def with_compute(self, compute_id: str = "a", *nodes: int) -> Fleet:
        """Add a compute of the tenant, whose shard is on the node given (default 1)."""
        self.controller.places.setdefault(TENANT, Placement(nodes=nodes or (1,)))
        await self.registry.put(compute_id, document())
        await self.reconciler.reconcile(TENANT)
        return self

    def published(self, compute_id: str = "a") -> dict[str, Any]:
        """Return the spec that the compute gets."""
        record = self.registry.computes[compute_id]
        assert record.published is not None
        spec: dict[str, Any] = msgspec.json.decode(record.published)["spec"]
        return spec

    def report(self, compute_id: str = "a", *suspected: Suspicion, **fields: Any) -> None:
        """Let a compute report that it runs with what is published."""
        record = self.registry.computes[compute_id]
        applied = ReportedDocument(
            generation=record.generation, hash=record.content_sha256, proof="full"
        )
        said = {"applied": applied, "desired": applied, **fields}
        self.registry.presence.reported(compute_id, Report(suspicions=suspected, **said))


def document(**spec: Any) -> bytes:
    """Return an operator's text for a compute of the tenant."""
    return msgspec.json.encode(
        {"spec": {"cluster": {}, "tenant_id": TENANT, "timeline_id": TIMELINE, **spec}}
    )


def suspicion(node_id: int, trouble: str = "dead") -> Suspicion:
    """Return what a compute holds against a node."""
    return Suspicion(source="pageserver", shard=0, endpoint=f"ps-{node_id}:6400", trouble=trouble)
