"""The admin API: order faults, move the tenant, ask what happened. JSON, no token, loopback."""

from collections.abc import Callable
from typing import Any

from aiohttp import web

from devstack.pageserver import sharding
from devstack.pageserver.context import Context
from devstack.pageserver.faults import HTTP, parse_fault
from devstack.pageserver.management import ManagementApi
from devstack.pageserver.messages import MAX_LSN, RESPONSE_TAGS, parse_lsn
from devstack.pageserver.server import Server
from devstack.pageserver.tenant import Tenant, TenantState
from devstack.serve import MAX_BODY, json_errors, only_keys, read_object

FAREWELLS = ("fin", "rst", "timed_out", "shutdown")


class Admin:
    """The routes over one server."""

    def __init__(
        self, server: Server, management: ManagementApi, tenant: Tenant, context: Context
    ) -> None:
        self._server = server
        self._management = management
        self._tenant = tenant
        self._context = context
        self._ownership = tenant.ownership

    def app(self) -> web.Application:
        """The HTTP application."""
        app = web.Application(middlewares=[json_errors], client_max_size=MAX_BODY)
        app.add_routes(
            [
                web.get("/stats", _read(self.stats)),
                web.get("/connections", _read(self.connections)),
                web.get("/fault", _read(self._context.faults.describe)),
                web.put("/fault", self._put_fault),
                web.delete("/fault", self._delete_fault),
                web.put("/shards", self._put_shards),
                web.put("/tenant", self._put_tenant),
                web.put("/lsn", self._put_lsn),
                web.post("/disconnect", self._post_disconnect),
                web.post("/reset", self._post_reset),
            ]
        )
        return app

    def stats(self) -> dict[str, Any]:
        """Everything countable."""
        counts, served = self._context.counts, self._context.service.served
        return {
            "connections": {"now": len(self._server.connections), "total": self._server.total},
            "handshakes": {name: counts[name] for name in ("startup", "login", "pagestream")},
            "requests": {kind: served.requests[kind] for kind in RESPONSE_TAGS},
            "basebackups": served.requests["basebackup"],
            "leases": served.requests["lease"],
            "pages_sent": served.pages,
            "errors_sent": counts["errors"],
            "misrouted": served.misrouted,
            "faults": dict(self._context.faults.fired),
            "pages_by_shard": dict(served.pages_by_shard),
            "tenant": self._tenant.state.value,
            "shards": self._tenant.ownership.describe(),
            "stripe_size": self._tenant.ownership.stripe_size,
            "listening": self._server.listening,
        }

    def connections(self) -> list[dict[str, Any]]:
        """Every open connection."""
        return [connection.describe() for connection in self._server.connections]

    async def _put_fault(self, request: web.Request) -> web.Response:
        fault = parse_fault(await read_object(request))
        self._context.faults.add(fault)
        if fault.kind == "refuse":
            if fault.phase == HTTP:
                await self._management.refuse()
            else:
                self._server.refuse()
        return web.json_response(fault.describe())

    async def _delete_fault(self, request: web.Request) -> web.Response:
        cleared = self._context.faults.clear(request.query.get("kind"))
        await self._listen()
        return web.json_response({"cleared": cleared})

    async def _listen(self) -> None:
        """Accept connections where they are not refused by order."""
        if not self._context.faults.active("refuse", "accept"):
            await self._server.listen()
        if not self._context.faults.active("refuse", HTTP):
            await self._management.listen()

    async def _put_shards(self, request: web.Request) -> web.Response:
        body = await read_object(request)
        only_keys(body, "shards", "stripe_size")
        stripe = body.get("stripe_size") or self._tenant.ownership.stripe_size
        ownership = sharding.parse(body.get("shards") or [], int(stripe))
        self._tenant.update(ownership=ownership)
        return web.json_response({"shards": ownership.describe(), "stripe_size": stripe})

    async def _put_tenant(self, request: web.Request) -> web.Response:
        body = await read_object(request)
        only_keys(body, "state")
        self._tenant.update(state=TenantState(body.get("state")))
        return web.json_response({"state": self._tenant.state.value})

    async def _put_lsn(self, request: web.Request) -> web.Response:
        body = await read_object(request)
        only_keys(body, "last_record_lsn", "gc_cutoff")
        last, cutoff = body.get("last_record_lsn"), body.get("gc_cutoff")
        self._tenant.update(
            last_record_lsn=MAX_LSN if last is None else parse_lsn(last),
            gc_cutoff=0 if cutoff is None else parse_lsn(cutoff),
        )
        return web.json_response({"last_record_lsn": last, "gc_cutoff": cutoff})

    async def _post_disconnect(self, request: web.Request) -> web.Response:
        body = await read_object(request)
        only_keys(body, "how", "idle_only")
        how = body.get("how", "fin")
        if how not in FAREWELLS:
            raise ValueError(f'how must be one of {", ".join(FAREWELLS)}, not "{how}"')
        closed = self._server.disconnect(how, idle_only=bool(body.get("idle_only", True)))
        return web.json_response({"closed": closed})

    async def _post_reset(self, request: web.Request) -> web.Response:
        """Be as after the start: no fault, no connection, counters at zero."""
        del request
        await self._server.reset()
        self._management.reset()
        self._context.faults.reset()
        await self._listen()
        self._context.service.reset()
        self._context.counts.clear()
        self._tenant.update(
            state=TenantState.ACTIVE,
            ownership=self._ownership,
            last_record_lsn=MAX_LSN,
            gc_cutoff=0,
        )
        return web.json_response({})


def _read(source: Callable[[], Any]) -> Callable[[web.Request], Any]:
    async def handler(request: web.Request) -> web.Response:
        del request
        return web.json_response(source())

    return handler
