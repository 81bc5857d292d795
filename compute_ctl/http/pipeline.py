"""What every request passes: request id, log, gate, route, body, errors. One per listener."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final

from aiohttp import web

from compute_ctl.http.api import Api, ApiResponse, Call, Listener, Route
from compute_ctl.http.auth import Authenticator
from compute_ctl.http.body import read_body
from compute_ctl.http.errors import SERVER, answer_to
from compute_ctl.http.limits import Connection
from compute_ctl.http.log_limit import LogLimit, shown_path
from compute_ctl.http.routes import find

logger = logging.getLogger(__name__)

REQUEST_ID: Final = "X-Request-Id"
_ID_LIMIT: Final = 128
STREAM_PIECE_S: Final = 60.0
"""For the next piece of a long answer to come, and for the caller to take it."""


class Pipeline:
    """The handler of one listener."""

    def __init__(
        self, *, api: Api, listener: Listener, authenticate: Authenticator, opened: bool = False
    ) -> None:
        """*opened*: the loopback listener serves what the operator may open there."""
        self._api = api
        self._listener = listener
        self._authenticate = authenticate
        self._opened = opened
        self._log_limit = LogLimit()

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer *request*, whatever happens."""
        connection = request.protocol
        assert isinstance(connection, Connection)  # noqa: S101 -- narrows the type
        loop = asyncio.get_running_loop()
        begin = loop.time()
        request_id = _request_id(request)
        found = find(request.method, request.path, self._listener, opened=self._opened)
        level, may_log = self._level(request, found), self._may_log(begin)
        path, extra = (
            shown_path(request.path),
            {"request_id": request_id, "door": self._listener.value},
        )
        level = level if may_log else logging.DEBUG
        logger.log(level, "serving %s %s request", path, request.method, extra=extra)
        response: web.StreamResponse | None = None
        try:
            answer = await self._answer(request, connection, found)
            if answer.stream is not None:
                response = await _stream(request, answer, answer.stream, request_id)
        except Exception as error:  # noqa: BLE001 -- a request must not end without an answer
            answer = answer_to(error)
        finally:
            connection.request_ends()
        if answer.code >= 400 and may_log and not (isinstance(found, Route) and found.quiet):
            level = logging.INFO
        latency_ms = round((loop.time() - begin) * 1000, 3)
        logger.log(
            level,
            "answered %s %s request with %d",
            path,
            request.method,
            answer.code,
            extra={**extra, "code": answer.code, "latency_ms": latency_ms},
        )
        self._api.metrics.on_http(self._listener.value, answer.code)
        if response is None:
            response = web.Response(
                body=answer.body, status=answer.code, headers=_headers(answer, request_id)
            )
        if answer.code in (400, 408, 413):
            response.force_close()  # what is left of such a request is not worth reading
        return response

    def _may_log(self, now: float) -> bool:
        """Whether a request may be logged: anybody can reach a port, and the disk is finite."""
        if self._listener is Listener.SOCKET:
            return True
        if not self._log_limit.take(now):
            return False
        if count := self._log_limit.told():
            logger.warning("%d requests at %s were not logged", count, self._listener.label)
        return True

    def _level(self, request: web.BaseRequest, found: Route | ApiResponse) -> int:
        """Return how loud the request is; an outage says the same every few seconds."""
        if not isinstance(found, Route):
            return logging.INFO
        named = request.headers.get("X-Refresh-Source") == "worker"
        bare = self._listener is Listener.LOOPBACK and not request.headers.get("User-Agent")
        known = found.by_worker and (named or bare) and self._api.node.requests.worker_complains
        return logging.DEBUG if found.quiet or known else logging.INFO

    async def _answer(
        self, request: web.BaseRequest, connection: Connection, found: Route | ApiResponse
    ) -> ApiResponse:
        who = await self._authenticate(request, found)
        if isinstance(found, ApiResponse):
            return found
        body = b""
        if found.body is not None:
            limit = connection.body_expected()
            body = await read_body(request, found.body, timeout_s=limit)
        connection.request_begins()
        call = Call(
            api=self._api,
            listener=self._listener,
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


def _headers(answer: ApiResponse, request_id: str) -> dict[str, str]:
    return {
        "Content-Type": answer.content_type,
        "Cache-Control": "no-store",
        "Server": SERVER,
        REQUEST_ID: request_id,
        **answer.headers,
    }


async def _stream(
    request: web.BaseRequest,
    answer: ApiResponse,
    rest: AsyncGenerator[bytes, None],
    request_id: str,
) -> web.StreamResponse:
    """Send a long body as it comes; the caller has to take it, and the source to give it, in time.

    An error after the first piece can only be shown by breaking the connection off.
    """
    response = web.StreamResponse(status=answer.code, headers=_headers(answer, request_id))
    async with aclosing(rest):
        async with asyncio.timeout(STREAM_PIECE_S):
            await response.prepare(request)
            if request.method == "HEAD":
                return response
            await response.write(answer.body)
        try:
            while True:
                async with asyncio.timeout(STREAM_PIECE_S):
                    piece = await anext(rest, None)
                    if piece is None:
                        break
                    await response.write(piece)
        except Exception as error:
            logger.error("an answer was broken off: %s", error)
            if request.transport is not None:
                request.transport.abort()
            raise
    return response
