"""The door that computes and the storage controller use: the spec of a compute, and notify-attach.

Bearer token where one is configured. A document's answer carries a strong ETag; a conditional
request with `Prefer: wait=N` is held until the document changes or N seconds are over.
"""

import asyncio
import hmac
import re
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from devstack.control_plane import documents
from devstack.control_plane.documents import ConflictError
from devstack.control_plane.faults import Fault, FaultBook, answer_wrongly
from devstack.control_plane.store import Compute, Store
from devstack.serve import MAX_BODY, Handler, json_errors, read_object

_WAIT = re.compile(r"(?:^|[,;\s])wait\s*=\s*(\d{1,6})(?:$|[,;\s])", re.IGNORECASE)


@dataclass(kw_only=True)
class Traffic:
    """What was asked so far, and how many long polls are waiting now."""

    counts: Counter[str] = field(default_factory=Counter)
    by_compute: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    waiting: int = 0

    def count(self, compute: str, what: str) -> None:
        """Count an event of a compute."""
        self.counts[what] += 1
        self.by_compute[compute][what] += 1


class PublicApi:
    """The routes. `long_poll` and `wants_reports` may be switched at any time."""

    def __init__(
        self, store: Store, faults: FaultBook, *, token: str | None, long_poll: bool, max_wait: int
    ) -> None:
        self.traffic = Traffic()
        self.long_poll = long_poll
        self.wants_reports = False
        self.reports: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
        """What each compute has reported, the oldest first."""
        self._store = store
        self._faults = faults
        self._token = token
        self._max_wait = max_wait

    def app(self) -> web.Application:
        """The HTTP application."""
        app = web.Application(middlewares=[json_errors], client_max_size=MAX_BODY)
        app.add_routes(
            [
                # ids may hold slashes, which clients do not escape
                web.get("/compute/api/v2/computes/{id:.+}/spec", self._route("spec", self._spec)),
                web.post(
                    "/compute/api/v2/computes/{id:.+}/report", self._route("report", self._report)
                ),
                web.put("/notify-attach", self._route("notify", self._notify_attach)),
            ]
        )
        return app

    def _route(self, name: str, handler: Handler) -> Handler:
        async def route(request: web.Request) -> web.StreamResponse:
            if name == "spec":
                self.traffic.count(request.match_info["id"], "fetches")
            elif name == "notify":
                self.traffic.counts["notifications"] += 1
            wrapped = handler
            for fault in reversed(self._faults.take(name)):
                wrapped = self._older if fault.kind == "older" else _struck(fault, wrapped)
            return await self._authorized(wrapped)(request)

        return route

    def _authorized(self, handler: Handler) -> Handler:
        async def check(request: web.Request) -> web.StreamResponse:
            given = request.headers.get("Authorization", "")
            if self._token is not None and not hmac.compare_digest(
                given.encode(), f"Bearer {self._token}".encode()
            ):
                self.traffic.counts["unauthorized"] += 1
                return web.json_response({"error": "invalid token"}, status=401)
            return await handler(request)

        return check

    async def _spec(self, request: web.Request) -> web.Response:
        name = request.match_info["id"]
        compute = self._store.computes.get(name)
        if compute is None:
            return _unknown(name)
        known = _tags(request.headers.get("If-None-Match", ""))
        wait = self._wait(request)
        headers = {} if wait is None else {"Preference-Applied": f"wait={wait}"}
        if wait and compute.etag in known:
            compute = await self._next(name, compute, wait)
        if compute is None:
            return _unknown(name)
        headers["ETag"] = compute.etag
        if self.wants_reports:
            headers["Compute-Reports"] = "1"
        if compute.etag in known:
            self.traffic.count(name, "not_modified")
            return web.Response(status=304, headers=headers)
        return web.json_response(text=compute.text, headers=headers)

    async def _report(self, request: web.Request) -> web.Response:
        self.reports[request.match_info["id"]].append(await read_object(request))
        return web.json_response({})

    async def _older(self, request: web.Request) -> web.Response:
        """What a lagging replica would answer: the document before the last change."""
        name = request.match_info["id"]
        compute = self._store.computes.get(name)
        if compute is None:
            return _unknown(name)
        document = compute.previous or documents.older(compute.document)
        return web.json_response(document, headers={"ETag": documents.etag(document)})

    def _wait(self, request: web.Request) -> int | None:
        """Seconds of the preference that we honour."""
        asked = _WAIT.search(request.headers.get("Prefer", ""))
        if not self.long_poll or asked is None:
            return None
        return min(int(asked[1]), self._max_wait)

    async def _next(self, name: str, compute: Compute, seconds: int) -> Compute | None:
        """The compute after its next change, or as it is after `seconds`."""
        self.traffic.count(name, "long_polls")
        self.traffic.waiting += 1
        try:
            async with asyncio.timeout(seconds):
                await compute.changed.wait()
        except TimeoutError:
            pass
        finally:
            self.traffic.waiting -= 1
        return self._store.computes.get(name)

    async def _notify_attach(self, request: web.Request) -> web.Response:
        body = await read_object(request)
        try:
            computes = self._store.attach(documents.parse_attachment(body))
        except ConflictError as error:
            return web.json_response({"error": str(error)}, status=409)
        if not computes:
            return web.json_response({"error": "no compute of this tenant"}, status=404)
        return web.json_response({"computes": computes})


def _struck(fault: Fault, handler: Handler) -> Handler:
    async def strike(request: web.Request) -> web.StreamResponse:
        return await answer_wrongly(fault, request, handler)

    return strike


def _tags(header: str) -> set[str]:
    """The tags of If-None-Match, which compares weakly."""
    return {tag.strip().removeprefix("W/") for tag in header.split(",")}


def _unknown(name: str) -> web.Response:
    return web.json_response({"error": f'unknown compute "{name}"'}, status=404)
