"""The admin API: create and move things, order faults, ask what happened. JSON, no token."""

from typing import Any

from aiohttp import web

from devstack.serve import MAX_BODY, Handler, json_errors, only_keys, read_object
from devstack.storage_controller.controller import Controller
from devstack.storage_controller.errors import RefusedError
from devstack.storage_controller.events import Events
from devstack.storage_controller.faults import FaultBook, parse_fault
from devstack.storage_controller.model import DEFAULT_STRIPE_SIZE, Timeline, new_tenant
from devstack.storage_controller.operations import Operations
from devstack.storage_controller.public_api import parse_node
from devstack.storage_controller.safekeepers import Safekeepers


class Admin:
    """The routes over one controller."""

    def __init__(
        self,
        controller: Controller,
        operations: Operations,
        safekeepers: Safekeepers,
        faults: FaultBook,
        events: Events,
    ) -> None:
        self._controller = controller
        self._operations = operations
        self._safekeepers = safekeepers
        self._faults = faults
        self._events = events

    def app(self) -> web.Application:
        """The HTTP application."""
        app = web.Application(middlewares=[json_errors, _refusals], client_max_size=MAX_BODY)
        timeline = "/tenants/{tenant:[0-9a-f]{32}}/timelines/{timeline:[0-9a-f]{32}}"
        app.add_routes(
            [
                web.put("/nodes/{id:[0-9]+}", self._put_node),
                web.put("/nodes/{id:[0-9]+}/drain", self._put_drain),
                web.delete("/drain", self._delete_drain),
                web.put("/tenants/{tenant:[0-9a-f]{32}}", self._put_tenant),
                web.put("/tenants/{tenant:[0-9a-f]{32}}/shards/{number:[0-9]+}", self._put_shard),
                web.put(timeline, self._put_timeline),
                web.put(f"{timeline}/safekeepers", self._put_members),
                web.put("/safekeepers/{id:[0-9]+}", self._put_safekeeper),
                web.put("/fault", self._put_fault),
                web.get("/fault", self._get_faults),
                web.delete("/fault", self._delete_fault),
                web.get("/stats", self._get_stats),
                web.get("/events", self._get_events),
            ]
        )
        return app

    async def _put_node(self, request: web.Request) -> web.Response:
        body = await read_object(request)
        node = parse_node({**body, "node_id": request.match_info["id"]})
        await self._controller.register(node)
        return web.json_response(self._controller.node(node.id).describe())

    async def _put_drain(self, request: web.Request) -> web.Response:
        body = await read_object(request)
        only_keys(body, "pause_seconds")
        self._operations.drain(
            int(request.match_info["id"]), pause_seconds=float(body.get("pause_seconds") or 0.0)
        )
        return web.json_response({})

    async def _delete_drain(self, request: web.Request) -> web.Response:
        del request
        self._operations.cancel()
        return web.json_response({})

    async def _put_tenant(self, request: web.Request) -> web.Response:
        body = await read_object(request)
        only_keys(body, "shard_count", "stripe_size", "secondaries", "preferred_az", "attached")
        count = _number(body, "shard_count", 0, least=0, most=255)
        tenant = new_tenant(
            request.match_info["tenant"],
            shard_count=count,
            stripe_size=_number(body, "stripe_size", DEFAULT_STRIPE_SIZE, least=1, most=1 << 31),
            secondaries=_number(body, "secondaries", 0, least=0, most=8),
            preferred_az=body.get("preferred_az"),
        )
        self._controller.create_tenant(tenant, body.get("attached"))
        return web.json_response(tenant.describe())

    async def _put_shard(self, request: web.Request) -> web.Response:
        body = await read_object(request)
        only_keys(body, "node_id")
        tenant_id, number = request.match_info["tenant"], int(request.match_info["number"])
        node_id = _number(body, "node_id", 0, least=0, most=1 << 63)
        task = self._controller.migrate(tenant_id, number, node_id)
        return web.json_response({"moved": task is not None})

    async def _put_timeline(self, request: web.Request) -> web.Response:
        body = await read_object(request)
        only_keys(body, "safekeepers")
        found = request.match_info
        members = _numbers(body, "safekeepers")
        timeline = self._safekeepers.create_timeline(found["tenant"], found["timeline"], members)
        return _describe(timeline)

    async def _put_members(self, request: web.Request) -> web.Response:
        body = await read_object(request)
        only_keys(body, "safekeepers", "finish")
        found = request.match_info
        timeline = self._safekeepers.change(
            found["tenant"],
            found["timeline"],
            _numbers(body, "safekeepers"),
            finish=bool(body.get("finish", True)),
        )
        return _describe(timeline)

    async def _put_safekeeper(self, request: web.Request) -> web.Response:
        body = await read_object(request)
        only_keys(body, "hostname")
        self._safekeepers.register(int(request.match_info["id"]), body.get("hostname"))
        return web.json_response(body)

    async def _put_fault(self, request: web.Request) -> web.Response:
        fault = parse_fault(await read_object(request))
        self._faults.add(fault)
        return web.json_response(fault.describe())

    async def _get_faults(self, request: web.Request) -> web.Response:
        del request
        return web.json_response(self._faults.describe())

    async def _delete_fault(self, request: web.Request) -> web.Response:
        return web.json_response({"cleared": self._faults.clear(request.query.get("kind"))})

    async def _get_events(self, request: web.Request) -> web.Response:
        return web.json_response(self._events.since(int(request.query.get("since", "0"))))

    async def _get_stats(self, request: web.Request) -> web.Response:
        del request
        state = self._controller.state
        stats: dict[str, Any] = {
            "ready": self._controller.ready.is_set(),
            "operation": self._controller.operation,
            "nodes": [node.describe() for node in state.nodes.values()],
            "tenants": {
                tenant.id: {shard.id: shard.generation for shard in tenant.shards}
                for tenant in state.tenants.values()
            },
            "pending": [shard.id for shard in state.shards() if shard.pending_notification],
            "reconciling": [shard.id for shard in state.shards() if shard.reconciling],
            "faults": dict(self._faults.fired),
        }
        return web.json_response(stats)


def _describe(timeline: Timeline) -> web.Response:
    return web.json_response(vars(timeline))


def _number(body: dict[str, Any], name: str, default: int, *, least: int, most: int) -> int:
    value = body.get(name, default)
    if type(value) is not int or not least <= value <= most:
        raise ValueError(f'invalid {name} "{value}"')
    return value


def _numbers(body: dict[str, Any], name: str) -> list[int]:
    values = body.get(name)
    if not isinstance(values, list) or not all(type(value) is int for value in values):
        raise ValueError(f"{name} must be a list of numbers")
    return values


@web.middleware
async def _refusals(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except RefusedError as error:
        return web.json_response({"error": str(error)}, status=error.status)
