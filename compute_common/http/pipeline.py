"""Handles each request: id, log, route, authentication, body, errors. One per listener."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final, Generic

from aiohttp import web

from compute_common.errors import RequestError
from compute_common.http.api import (
    JSON,
    A,
    ApiResponse,
    Call,
    RequestBody,
    RequestMetrics,
    Route,
)
from compute_common.http.errors import error_response
from compute_common.http.limits import Connection
from compute_common.http.listener import ListenerSpec
from compute_common.http.request_log import IsQuiet, RequestLog
from compute_common.http.router import Router

REQUEST_ID: Final = "X-Request-Id"
_ID_LIMIT: Final = 128
_JSON_TYPES: Final = (JSON, "text/json")
STREAM_PIECE_S: Final = 60.0
"""Within which the next piece of a long answer must arrive and the caller must take it."""


class Pipeline(Generic[A]):
    """Handles the requests of one listener."""

    def __init__(
        self,
        *,
        program: str,
        api: A,
        listener: ListenerSpec,
        router: Router[A],
        metrics: RequestMetrics,
        is_quiet: IsQuiet,
    ) -> None:
        self._program = program
        self._api = api
        self._listener = listener
        self._router = router
        self._metrics = metrics
        self._log = RequestLog(
            program=program,
            listener=listener,
            label=router.label(listener.name),
            is_quiet=is_quiet,
        )

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer *request*; every exception becomes a response."""
        connection = request.protocol
        assert isinstance(connection, Connection)  # noqa: S101 -- narrows the type
        now = asyncio.get_running_loop().time
        request_id = _request_id(request)
        found = self._router.find(request.method, request.path, self._listener.name)
        logged = self._log.begin(request, found, request_id=request_id, at=now())
        response: web.StreamResponse | None = None
        try:
            answer = await self._answer(request, connection, found)
            if answer.stream is not None:
                response = await self._stream(request, answer, answer.stream, request_id)
        except Exception as error:  # noqa: BLE001 -- every request gets an answer
            answer = error_response(error)
        finally:
            connection.request_ends()
        logged.end(answer.code, at=now())
        self._metrics.on_http(self._listener.name, answer.code)
        if response is None:
            response = web.Response(
                body=answer.body, status=answer.code, headers=self._headers(answer, request_id)
            )
        if answer.code in (400, 408, 413):
            response.force_close()  # the rest of such a request is not read
        return response

    async def _answer(
        self, request: web.BaseRequest, connection: Connection, found: Route[A] | ApiResponse
    ) -> ApiResponse:
        who = await self._listener.authenticate(request, found)
        if isinstance(found, ApiResponse):
            return found
        body = b""
        if found.body is not None:
            limit = connection.body_expected()
            body = await _read_body(request, found.body, timeout_s=limit)
        connection.request_begins()
        call = Call(
            api=self._api,
            listener=self._listener.name,
            who=who,
            path=found.parameters(request.path),
            query=request.rel_url.query,
            headers=request.headers,
            body=body,
        )
        return await found.run(call)

    def _headers(self, answer: ApiResponse, request_id: str) -> dict[str, str]:
        return {
            "Content-Type": answer.content_type,
            "Cache-Control": "no-store",
            "Server": self._program,
            REQUEST_ID: request_id,
            **answer.headers,
        }

    async def _stream(
        self,
        request: web.BaseRequest,
        answer: ApiResponse,
        rest: AsyncGenerator[bytes, None],
        request_id: str,
    ) -> web.StreamResponse:
        """Send a long body as it arrives, with a time limit on each piece.

        After the first piece an error can only be shown by aborting the connection.
        """
        response = web.StreamResponse(status=answer.code, headers=self._headers(answer, request_id))
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
                self._log.logger.error("aborted a response: %s", error)
                if request.transport is not None:
                    request.transport.abort()
                raise
        return response


def _request_id(request: web.BaseRequest) -> str:
    """Return the caller's request id if it is safe to echo and log, else a new one."""
    given = request.headers.get(REQUEST_ID, "")
    if 0 < len(given) <= _ID_LIMIT and all("!" <= character <= "~" for character in given):
        return given
    return str(uuid.uuid4())


async def _read_body(request: web.BaseRequest, body: RequestBody, *, timeout_s: float) -> bytes:
    """Return the body of *request*, within the limits of *body*.

    Raises:
        RequestError: 400 incomplete, 408 too slow, 411 missing, 413 too big, 415 not plain JSON.
    """
    coding = request.headers.get("Content-Encoding", "identity")
    if coding.strip().lower() not in ("", "identity"):
        raise RequestError(415, f'content encoding "{coding[:40]}" is not accepted')
    length = request.content_length
    chunked = "chunked" in request.headers.get("Transfer-Encoding", "").lower()
    if length is None and not chunked:
        if body.required:
            raise RequestError(411, "a body with a Content-Length is needed")
        return b""
    if length is not None and length > body.limit:
        raise _too_big(body)
    try:
        async with asyncio.timeout(timeout_s):
            data = await _receive(request, body)
    except TimeoutError:
        raise RequestError(408, f"the body did not arrive within {timeout_s:g} s") from None
    except (web.RequestPayloadError, ConnectionError) as error:
        raise RequestError(400, "the body ended early") from error
    if data and request.content_type not in _JSON_TYPES:
        raise RequestError(415, f"expected request with content-type: {JSON}")
    return data


async def _receive(request: web.BaseRequest, body: RequestBody) -> bytes:
    if request.headers.get("Expect", "").lower() == "100-continue":
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # do not count it as part of the answer
    data = bytearray()
    async for chunk in request.content.iter_any():
        data += chunk
        if len(data) > body.limit:
            raise _too_big(body)
    return bytes(data)


def _too_big(body: RequestBody) -> RequestError:
    return RequestError(413, f"the body is longer than {body.limit} bytes")
