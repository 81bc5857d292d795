"""The HTTP port beside libpq: health, and the door through which a storage controller attaches.

Faults of phase `http` strike here: `slow`, `silent`, `close`, `refuse`.
"""

import asyncio
import socket
from typing import Any

from aiohttp import web

from devstack.pageserver.faults import HTTP, FaultBook
from devstack.pageserver.locations import Locations, Mode, parse_location
from devstack.pageserver.tenant import Tenant, TenantState
from devstack.pageserver.tokens import TokenError, check_token
from devstack.serve import Handler, bound_socket, json_errors, read_object


class ManagementApi:
    """The routes and their port.

    `attach_seconds`: how long the first attach of a shard that is not a warm secondary takes.
    `auth_key`: PEM; where given, all but the status wants a token of scope `pageserverapi`.
    """

    def __init__(
        self,
        tenant: Tenant,
        faults: FaultBook,
        *,
        node_id: int,
        auth_key: str | None = None,
        attach_seconds: float = 0.0,
    ) -> None:
        self.locations = Locations()
        self._tenant = tenant
        self._faults = faults
        self._node_id = node_id
        self._auth_key = auth_key
        self._attach_seconds = attach_seconds
        self._serving = self.locations.serving(tenant.tenant_id)
        self._reserved: socket.socket | None = None
        self._runner: web.AppRunner | None = None
        self._site: web.SockSite | None = None

    async def start(self, host: str, port: int) -> str:
        """Bind and listen; the address as `HOST:PORT`. Raises OSError."""
        self._reserved = bound_socket(host, port)
        app = web.Application(middlewares=[self._strike, json_errors, self._authorize])
        app.add_routes(
            [
                web.get("/v1/status", self._get_status),
                web.get("/v1/location_config", self._get_locations),
                web.get("/v1/location_config/{shard}", self._get_location),
                web.put("/v1/tenant/{shard}/location_config", self._put_location),
            ]
        )
        self._runner = web.AppRunner(
            app, access_log=None, shutdown_timeout=0.2, handler_cancellation=True
        )
        await self._runner.setup()
        await self.listen()
        return "{}:{}".format(*self._reserved.getsockname())

    async def listen(self) -> None:
        """Accept connections; no effect where they are accepted already."""
        if self._site is None and self._runner is not None and self._reserved is not None:
            sock = bound_socket(*self._reserved.getsockname())
            self._site = web.SockSite(self._runner, sock)
            await self._site.start()

    async def refuse(self) -> None:
        """Let new connections be refused by the kernel."""
        if self._site is not None:
            await self._site.stop()
            self._site = None

    def reset(self) -> None:
        """Forget all locations."""
        self.locations = Locations()
        self._serving = self.locations.serving(self._tenant.tenant_id)

    async def stop(self) -> None:
        """Close the port."""
        if self._runner is not None:
            await self._runner.cleanup()
        if self._reserved is not None:
            self._reserved.close()

    async def put(self, shard_id: str, body: dict[str, Any]) -> None:
        """Set the location of a shard and wait until it serves. Raises ValueError."""
        location = parse_location(shard_id, body)
        cold = location.mode.attached and self.locations.get(shard_id) is None
        self.locations.put(location)
        if location.tenant_id != self._tenant.tenant_id:
            return  # known, but without pages: this server holds those of one tenant
        if cold and self._attach_seconds:
            if self._serving[0] is not TenantState.ACTIVE:
                self._tenant.update(state=TenantState.ATTACHING)
            # the caller may give up, the attach goes on
            task = asyncio.create_task(
                asyncio.sleep(self._attach_seconds), name=f"attach {shard_id}"
            )
            task.add_done_callback(lambda _: self._serve())
            await asyncio.shield(task)
        else:
            self._serve()

    def _serve(self) -> None:
        self._serving = self.locations.serving(self._tenant.tenant_id)
        state, ownership = self._serving
        self._tenant.update(state=state, ownership=ownership)

    @web.middleware
    async def _strike(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if delay := self._faults.take_delay(HTTP):
            await asyncio.sleep(delay)
        fault = self._faults.take(HTTP)
        if fault is None:
            return await handler(request)
        if fault.kind == "silent":
            await fault.cleared.wait()
        if request.transport is not None:
            request.transport.abort()
        return web.Response()

    @web.middleware
    async def _authorize(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if self._auth_key is not None and request.path != "/v1/status":
            token = request.headers.get("Authorization", "").removeprefix("Bearer ")
            try:
                claims = check_token(token, self._auth_key)
            except TokenError as error:
                raise web.HTTPUnauthorized(reason="malformed or missing token") from error
            if claims.tenant_id is not None:
                raise web.HTTPForbidden(reason="token of scope pageserverapi is needed")
        return await handler(request)

    async def _get_status(self, request: web.Request) -> web.Response:
        del request
        return web.json_response({"id": self._node_id})

    async def _get_locations(self, request: web.Request) -> web.Response:
        del request
        return web.json_response(self.locations.describe())

    async def _get_location(self, request: web.Request) -> web.Response:
        location = self.locations.get(request.match_info["shard"])
        if location is None:
            raise web.HTTPNotFound(reason="tenant shard is not here")
        return web.json_response(location.describe())

    async def _put_location(self, request: web.Request) -> web.Response:
        shard = request.match_info["shard"]
        body = await read_object(request)
        await self.put(shard, body)
        gone = body.get("mode") == Mode.DETACHED.value
        placed = [] if gone else [{"shard_id": shard, "node_id": self._node_id}]
        return web.json_response({"shards": placed, "stripe_size": body.get("shard_stripe_size")})
