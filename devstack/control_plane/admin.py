"""The admin API: set documents and nodes, order faults, ask what happened. JSON, no token."""

from typing import Any

from aiohttp import web

from devstack.control_plane import documents
from devstack.control_plane.faults import FaultBook, parse_fault
from devstack.control_plane.public_api import PublicApi
from devstack.control_plane.store import Compute, Store
from devstack.serve import MAX_BODY, json_errors, only_keys, read_object


class Admin:
    """The routes over one control plane."""

    def __init__(self, store: Store, public: PublicApi, faults: FaultBook) -> None:
        self._store = store
        self._public = public
        self._faults = faults

    def app(self) -> web.Application:
        """The HTTP application."""
        app = web.Application(middlewares=[json_errors], client_max_size=MAX_BODY)
        app.add_routes(
            [
                web.put("/nodes/{id:[0-9]+}", self._put_node),
                web.put("/computes/{id:.+}/empty", self._put_empty),
                web.put("/computes/{id:.+}", self._put_compute),
                web.get("/computes/{id:.+}", self._get_compute),
                web.delete("/computes/{id:.+}", self._delete_compute),
                web.put("/fault", self._put_fault),
                web.get("/fault", self._get_faults),
                web.delete("/fault", self._delete_fault),
                web.put("/settings", self._put_settings),
                web.get("/stats", self._get_stats),
                web.get("/reports/{id:.+}", self._get_reports),
            ]
        )
        return app

    async def _put_node(self, request: web.Request) -> web.Response:
        body = await read_object(request)
        only_keys(body, "libpq_url")
        url = body.get("libpq_url")
        if not isinstance(url, str) or not url:
            raise ValueError("libpq_url is required")
        self._store.put_node(int(request.match_info["id"]), url)
        return web.json_response({"libpq_url": url})

    async def _put_compute(self, request: web.Request) -> web.Response:
        document = documents.check_document(await read_object(request))
        return _summary(self._store.put(request.match_info["id"], document))

    async def _put_empty(self, request: web.Request) -> web.Response:
        name, compute = self._find(request)
        return _summary(self._store.put(name, documents.emptied(compute.document)))

    async def _get_compute(self, request: web.Request) -> web.Response:
        return web.json_response(self._find(request)[1].document)

    async def _delete_compute(self, request: web.Request) -> web.Response:
        self._store.delete(self._find(request)[0])
        return web.json_response({})

    def _find(self, request: web.Request) -> tuple[str, Compute]:
        name = request.match_info["id"]
        if name not in self._store.computes:
            raise web.HTTPNotFound(reason=f'unknown compute "{name}"')
        return name, self._store.computes[name]

    async def _put_fault(self, request: web.Request) -> web.Response:
        fault = parse_fault(await read_object(request))
        self._faults.add(fault)
        return web.json_response(fault.describe())

    async def _get_faults(self, request: web.Request) -> web.Response:
        del request
        return web.json_response(self._faults.describe())

    async def _delete_fault(self, request: web.Request) -> web.Response:
        return web.json_response({"cleared": self._faults.clear(request.query.get("kind"))})

    async def _put_settings(self, request: web.Request) -> web.Response:
        body = await read_object(request)
        only_keys(body, "long_poll", "wants_reports")
        for name, value in body.items():
            if not isinstance(value, bool):
                raise ValueError(f"{name} must be true or false")  # noqa: TRY004 - a 400
            setattr(self._public, name, value)
        return web.json_response(body)

    async def _get_reports(self, request: web.Request) -> web.Response:
        return web.json_response(self._public.reports[request.match_info["id"]])

    async def _get_stats(self, request: web.Request) -> web.Response:
        del request
        traffic = self._public.traffic
        names = ("fetches", "not_modified", "long_polls", "unauthorized", "notifications")
        stats: dict[str, Any] = {name: traffic.counts[name] for name in names}
        stats["waiting"] = traffic.waiting
        stats["faults"] = dict(self._faults.fired)
        stats["computes"] = {
            name: {
                **{what: traffic.by_compute[name][what] for what in names[:3]},
                "etag": compute.etag,
                "generation": documents.generation(compute.document),
            }
            for name, compute in self._store.computes.items()
        }
        return web.json_response(stats)


def _summary(compute: Compute) -> web.Response:
    document = compute.document
    return web.json_response({"etag": compute.etag, "generation": documents.generation(document)})
