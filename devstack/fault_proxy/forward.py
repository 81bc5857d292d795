"""What a request gets: the answer of the control plane behind, or what was ordered instead."""

import dataclasses
from collections import defaultdict, deque
from collections.abc import Mapping

from aiohttp import ClientConnectionError, ClientSession, web
from yarl import URL

from devstack.fault_proxy.faults import Fault, FaultBook

HOP_BY_HOP = ("Connection", "Content-Length", "Host", "Transfer-Encoding")


@dataclasses.dataclass(frozen=True)
class Reply:
    """A whole answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    def response(self) -> web.Response:
        """Return a response of aiohttp, which can be sent once."""
        return web.Response(status=self.status, headers=self.headers, body=self.body)


class Forwarder:
    """Asks *upstream*, a base URL, unless a fault of *book* strikes."""

    def __init__(self, upstream: str, book: FaultBook, session: ClientSession) -> None:
        self._upstream = upstream
        self._book = book
        self._session = session
        self._given: defaultdict[str, deque[Reply]] = defaultdict(lambda: deque(maxlen=2))
        """By path: the last two documents answered that differ."""

    async def handle(self, request: web.Request) -> web.Response:
        """Answer a request; where there is no answer, end the connection."""
        try:
            fault = self._book.take(request.path)
            answer = await (self._ask(request) if fault is None else self._strike(fault, request))
            if fault is None and (fault := self._book.take(request.path)):  # ordered meanwhile
                answer = await self._strike(fault, request)
            return answer.response()
        except ClientConnectionError:
            if request.transport is not None:
                request.transport.close()
            return web.Response()

    async def _strike(self, fault: Fault, request: web.Request) -> Reply:
        match fault.kind:
            case "answer":
                headers = {"Content-Type": "application/json"}
                return Reply(fault.code, headers, fault.body.encode())
            case "half":
                answer = await self._ask(request)
                return dataclasses.replace(answer, body=answer.body[: len(answer.body) // 2])
            case "older":
                if given := self._given[request.path]:
                    return given[0]
                raise web.HTTPInternalServerError(reason="nothing was answered before")
            case "silent":
                await fault.cleared.wait()
            case _:
                pass
        raise ClientConnectionError("ordered")

    async def _ask(self, request: web.Request) -> Reply:
        """Return the answer of the control plane. Raises ClientConnectionError."""
        path = request.path
        async with self._session.request(
            request.method,
            URL(f"{self._upstream}{request.raw_path}", encoded=True),
            headers=_without(request.headers, self._book.lasts("no_hold", path) and "Prefer"),
            data=await request.read(),
        ) as found:
            without = self._book.lasts("no_reports", path) and "Compute-Reports"
            answer = Reply(found.status, _without(found.headers, without), await found.read())
        given = self._given[path]
        if answer.status == 200 and not (given and given[-1].body == answer.body):
            given.append(answer)
        return answer


def _without(headers: Mapping[str, str], name: str | bool) -> dict[str, str]:
    """The headers that are passed on: neither those of a connection nor *name*."""
    return {key: value for key, value in headers.items() if key.title() not in (*HOP_BY_HOP, name)}
