"""The public port of a control plane, in this process, over a store in memory."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from compute_common.http.server import HttpServer
from control_plane.app.adapters import Adapters
from control_plane.app.assembly import Parts, build
from control_plane.app.listeners import listeners
from control_plane.decisions.model import Placement, StorageNode, StorageSafekeeper
from control_plane.errors import ControllerError
from control_plane.fleet.publisher import Given
from control_plane.http.api import Api, Listener
from control_plane.settings import MOST_HELD, ListenAddress, Settings
from tests.support.memory_store import MemoryStore

TENANT = "9f3c1d5e7a804b26a1c4e85d02f7b369"
TIMELINE = "0a1b2c3d4e5f60718293a4b5c6d7e8f9"
COMPUTE_TOKEN = "token-of-computes"
HOOK_TOKEN = "token-of-hooks"


def node(number: int) -> StorageNode:
    """A pageserver."""
    return StorageNode(
        id=number,
        listen_pg_addr="127.0.0.1",
        listen_pg_port=6400 + number,
        listen_http_addr="127.0.0.1",
        listen_http_port=9800 + number,
    )


@dataclass
class FakeController:
    """A storage controller; what it says is set by the test."""

    placements: dict[str, Placement] = field(default_factory=dict)
    silent: bool = False

    async def nodes(self) -> tuple[StorageNode, ...]:
        """Three."""
        if self.silent:
            raise ControllerError("it does not answer")
        return tuple(node(number) for number in (1, 2, 3))

    async def locate(self, tenant_id: str) -> Placement | None:
        """As the test has set it; never, while it is silent."""
        if self.silent:
            await asyncio.Event().wait()
        return self.placements.get(tenant_id)

    async def safekeepers(self) -> tuple[StorageSafekeeper, ...]:
        """Ten."""
        return tuple(StorageSafekeeper(id=it, host=f"sk{it}", port=5454) for it in range(1, 11))

    async def set_offline(self, node_id: int) -> None:
        """Do nothing."""

    async def close(self) -> None:
        """Do nothing."""


@dataclass
class Reply:
    """An answer."""

    code: int
    headers: Any
    body: Any


@dataclass
class Door:
    """What a test needs of the control plane."""

    parts: Parts
    store: MemoryStore
    controller: FakeController
    base: str
    session: aiohttp.ClientSession
    server: HttpServer[Api]

    async def ask(
        self, method: str, path: str, body: Any = None, *, token: str | None = None, **headers: str
    ) -> Reply:
        """One request; underscores in names of headers are hyphens."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if token is not None:
            named["Authorization"] = f"Bearer {token}"
        raw = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        if body is not None:
            named["Content-Type"] = "application/json"
        async with self.session.request(
            method, self.base + path, data=raw, headers=named
        ) as answer:
            text = await answer.text()
            found = json.loads(text) if text and answer.content_type == "application/json" else text
            return Reply(answer.status, answer.headers, found)

    async def spec(self, compute_id: str = "one", **headers: str) -> Reply:
        """A compute asks for its document."""
        path = f"/compute/api/v2/computes/{compute_id}/spec"
        return await self.ask("GET", path, token=COMPUTE_TOKEN, **headers)

    async def report(self, compute_id: str = "one", **body: Any) -> Reply:
        """A compute reports."""
        path = f"/compute/api/v2/computes/{compute_id}/report"
        return await self.ask("POST", path, body, token=COMPUTE_TOKEN)

    async def runs(self, compute_id: str = "one") -> None:
        """A compute reports that it runs with what is published."""
        record = self.parts.registry.computes[compute_id]
        runs = {
            "generation": record.generation,
            "hash": record.content_sha256,
            "proof": "full",
        }
        assert 200 == (await self.report(compute_id, applied=runs)).code

    async def attach(self, *nodes: int, tenant: str = TENANT) -> Reply:
        """The storage controller tells that the tenant is on these nodes."""
        shards = [{"node_id": one, "shard_number": number} for number, one in enumerate(nodes)]
        body = {
            "tenant_id": tenant,
            "preferred_az": None,
            "stripe_size": 2048 if len(nodes) > 1 else None,
            "shards": shards,
        }
        return await self.ask("PUT", "/notify-attach", body, token=HOOK_TOKEN)

    async def put(self, compute_id: str = "one", *, token: str | None = None) -> None:
        """The operator puts a document."""
        await self.parts.registry.put(compute_id, document(), given=Given(token=token))
        await self.parts.reconciler.reconcile(TENANT)

    def locate(self, *nodes: int) -> None:
        """The storage controller says from now on that the tenant is on these nodes."""
        self.controller.placements[TENANT] = Placement(
            nodes=nodes,
            shard_count=len(nodes) if len(nodes) > 1 else 0,
            stripe_size=2048 if len(nodes) > 1 else None,
        )


def document(**spec: Any) -> bytes:
    """An operator's text."""
    parts = {
        "cluster": {"roles": [], "databases": [], "settings": []},
        "tenant_id": TENANT,
        "timeline_id": TIMELINE,
        **spec,
    }
    return json.dumps({"spec": parts, "compute_ctl_config": {"jwks": {"keys": []}}}).encode()


def safekeepers(generation: int, *ids: int, **changed: Any) -> dict[str, Any]:
    """The body of notify-safekeepers."""
    keepers = [{"id": one, "hostname": f"sk{one}"} for one in ids]
    ids_of = {"tenant_id": TENANT, "timeline_id": TIMELINE}
    return {**ids_of, "generation": generation, "safekeepers": keepers, **changed}


@asynccontextmanager
async def public_door(folder: Path, **options: Any) -> AsyncIterator[Door]:
    """Serve; the storage controller knows the tenant on node 1."""
    given: dict[str, Any] = {
        "listen": ListenAddress("127.0.0.1", 0),
        "store": str(folder / "state.db"),
        "storage_controller": "http://127.0.0.1:1",
        "hook_token": HOOK_TOKEN,
        "compute_token": COMPUTE_TOKEN,
        **options,
    }
    settings = Settings(**given)
    store, controller = MemoryStore(), FakeController()
    held = settings.max_held or MOST_HELD
    parts = build(settings, store, Adapters(controller=controller), held=held)
    await parts.registry.load()
    server = HttpServer(
        program="compute_control_plane",
        api=parts.api,
        router=parts.router,
        listeners=listeners(settings, registry=parts.registry, connections=1000, tls=None),
        metrics=parts.api.metrics,
    )
    await server.start()
    async with aiohttp.ClientSession() as session:
        door = Door(
            parts=parts,
            store=store,
            controller=controller,
            base=f"http://127.0.0.1:{server.ports[Listener.PUBLIC]}",
            session=session,
            server=server,
        )
        door.locate(1)
        try:
            yield door
        finally:
            await server.stop(1.0)
