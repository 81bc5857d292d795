"""What every request passes: request id, log, gate, route, body, errors. One per door."""

from __future__ import annotations

import asyncio
import logging
import uuid
from typing import Final

from aiohttp import web

from compute_ctl.http.api import Answer, Api, Call, Door, Route
from compute_ctl.http.body import read_body
from compute_ctl.http.errors import SERVER, answer_to
from compute_ctl.http.gates import Gate
from compute_ctl.http.guard import Connection
from compute_ctl.http.routes import find

logger = logging.getLogger(__name__)

REQUEST_ID: Final = "X-Request-Id"
_ID_LIMIT: Final = 128


class Pipeline:
    """The handler of one door."""

    def __init__(self, *, api: Api, door: Door, gate: Gate) -> None:
        self._api = api
        self._door = door
        self._gate = gate

    async def __call__(self, request: web.BaseRequest) -> web.Response:
        """Answer *request*, whatever happens."""
        connection = request.protocol
        assert isinstance(connection, Connection)  # noqa: S101 -- narrows the type
        loop = asyncio.get_running_loop()
        begin = loop.time()
        request_id = _request_id(request)
        found = find(request.method, request.path, self._door)
        level = logging.DEBUG if isinstance(found, Route) and found.quiet else logging.INFO
        extra = {"request_id": request_id, "door": self._door.value}
        logger.log(level, "serving %s %s request", request.path, request.method, extra=extra)
        try:
            answer = await self._answer(request, connection, found)
        except Exception as error:  # noqa: BLE001 -- a request must not end without an answer
            answer = answer_to(error)
        finally:
            connection.request_ends()
        latency_ms = round((loop.time() - begin) * 1000, 3)
        logger.log(
            level,
            "answered %s %s request with %d",
            request.path,
            request.method,
            answer.code,
            extra={**extra, "code": answer.code, "latency_ms": latency_ms},
        )
        self._api.meter.on_http(self._door.value, answer.code)
        return _response(answer, request_id)

    async def _answer(
        self, request: web.BaseRequest, connection: Connection, found: Route | Answer
    ) -> Answer:
        who = self._gate(request)
        if isinstance(found, Answer):
            return found
        body = b""
        if found.body is not None:
            limit = connection.body_expected()
            body = await read_body(request, found.body, timeout_s=limit)
        connection.request_begins()
        call = Call(
            api=self._api,
            door=self._door,
            who=who,
            query=request.rel_url.query,
            headers=request.headers,
            body=body,
        )
        return await found.run(call)


def _request_id(request: web.BaseRequest) -> str:
    """Return the caller's id if it can be echoed and logged safely, else a new one."""
    given = request.headers.get(REQUEST_ID, "")
    if 0 < len(given) <= _ID_LIMIT and all("!" <= character <= "~" for character in given):
        return given
    return str(uuid.uuid4())


def _response(answer: Answer, request_id: str) -> web.Response:
    response = web.Response(
        body=answer.body,
        status=answer.code,
        headers={
            "Content-Type": answer.content_type,
            "Cache-Control": "no-store",
            "Server": SERVER,
            REQUEST_ID: request_id,
            **answer.headers,
        },
    )
    if answer.code in (400, 408, 413):
        response.force_close()  # what is left of such a request is not worth reading
    return response
