"""The controller's own API: nodes, tenants, health, and the upcall of a pageserver that starts.

Bearer tokens (EdDSA) where a key is configured; a token of scope `admin` opens every route. Errors
are `{"msg": ...}`, as the reference's.
"""

from collections.abc import Awaitable, Callable
from typing import Any

import jwt
from aiohttp import web

from devstack.serve import MAX_BODY, Handler, read_object
from devstack.storage_controller.controller import Controller
from devstack.storage_controller.errors import RefusedError
from devstack.storage_controller.model import Availability, Node, Scheduling

SAFEKEEPER_PORT = 5454
Answering = Callable[[web.Request], Awaitable[Any]]


class PublicApi:
    """The routes. `auth_key`: PEM of the public key; None: everybody is let in."""

    def __init__(self, controller: Controller, *, auth_key: str | None) -> None:
        self._controller = controller
        self._auth_key = auth_key

    def app(self) -> web.Application:
        """The HTTP application."""
        app = web.Application(middlewares=[msg_errors], client_max_size=MAX_BODY)
        tenant = "/control/v1/tenant/{tenant}"
        app.add_routes(
            [
                web.get("/status", self._get_status),
                web.get("/ready", self._get_ready),
                web.get("/control/v1/node", self._route("infra", self._list_nodes)),
                web.get("/control/v1/node/{id:[0-9]+}", self._route("infra", self._get_node)),
                web.put(
                    "/control/v1/node/{id:[0-9]+}/config", self._route("admin", self._configure)
                ),
                web.get("/control/v1/safekeeper", self._route("infra", self._list_safekeepers)),
                web.get(tenant, self._route("admin", self._get_tenant)),
                web.get("/debug/v1/tenant/{tenant}/locate", self._route("admin", self._locate)),
                web.post("/upcall/v1/re-attach", self._route("generations_api", self._reattach)),
            ]
        )
        return app

    def _route(self, scope: str, answer: Answering) -> Handler:
        async def route(request: web.Request) -> web.StreamResponse:
            self._authorize(request, scope)
            await self._controller.ready.wait()
            return web.json_response(await answer(request))

        return route

    def _authorize(self, request: web.Request, scope: str) -> None:
        if self._auth_key is None:
            return
        kind, _, token = request.headers.get("Authorization", "").partition(" ")
        if kind != "Bearer":
            raise web.HTTPUnauthorized(reason="missing authorization header")
        try:
            claims = jwt.decode(
                token,
                self._auth_key,
                algorithms=["EdDSA"],
                options={"verify_aud": False, "verify_iat": False},
            )
        except jwt.PyJWTError as error:
            raise web.HTTPUnauthorized(reason="malformed jwt token") from error
        if claims.get("scope") not in (scope, "admin"):
            raise web.HTTPForbidden(reason="Scope mismatch. Permission denied")

    async def _get_status(self, request: web.Request) -> web.Response:
        del request
        return web.json_response({})

    async def _get_ready(self, request: web.Request) -> web.Response:
        del request
        return web.json_response({}, status=200 if self._controller.ready.is_set() else 503)

    async def _list_nodes(self, request: web.Request) -> Any:
        del request
        nodes = self._controller.state.nodes
        return [node.describe() for _, node in sorted(nodes.items())]

    async def _list_safekeepers(self, request: web.Request) -> Any:
        del request
        known = sorted(self._controller.state.safekeepers.items())
        return [_describe_safekeeper(number, host or "127.0.0.1") for number, host in known]

    async def _get_node(self, request: web.Request) -> Any:
        return self._controller.node(int(request.match_info["id"])).describe()

    async def _configure(self, request: web.Request) -> None:
        node_id, body = int(request.match_info["id"]), await read_object(request)
        if body.get("node_id") != node_id:
            raise ValueError("Path and body node_id differ")
        availability, scheduling = body.get("availability"), body.get("scheduling")
        await self._controller.configure(
            node_id,
            None if availability is None else Availability(availability),
            None if scheduling is None else Scheduling(scheduling),
        )

    async def _get_tenant(self, request: web.Request) -> Any:
        return self._controller.tenant(request.match_info["tenant"]).describe()

    async def _locate(self, request: web.Request) -> Any:
        tenant = self._controller.tenant(request.match_info["tenant"])
        return tenant.locate(self._controller.state.nodes)

    async def _reattach(self, request: web.Request) -> Any:
        body = await read_object(request)
        if body.get("register") is not None:
            await self._controller.register(parse_node(body["register"]))
        return {"tenants": self._controller.reattach(int(body["node_id"]))}


def parse_node(body: dict[str, Any]) -> Node:
    """Read a node's registration. Raises ValueError."""
    try:
        return Node(
            id=int(body["node_id"]),
            listen_http_addr=str(body["listen_http_addr"]),
            listen_http_port=int(body["listen_http_port"]),
            listen_pg_addr=str(body["listen_pg_addr"]),
            listen_pg_port=int(body["listen_pg_port"]),
            availability_zone_id=str(body.get("availability_zone_id", "az")),
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"invalid node: {error!r}") from error


def _describe_safekeeper(number: int, host: str) -> dict[str, Any]:
    return {
        "id": number,
        "region_id": "region",
        "version": 1,
        "host": host,
        "port": SAFEKEEPER_PORT,
        "http_port": 7676,
        "https_port": None,
        "availability_zone_id": "az",
        "scheduling_policy": "Active",
    }


@web.middleware
async def msg_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn refusals into `{"msg": ...}`: ValueError is 400."""
    try:
        return await handler(request)
    except (ValueError, KeyError) as error:
        return web.json_response({"msg": str(error)}, status=400)
    except RefusedError as error:
        kind = type(error).__name__.removesuffix("Error")
        return web.json_response({"msg": f"{kind}: {error}"}, status=error.status)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        return web.json_response({"msg": error.reason}, status=error.status)
