"""Reads a request's body within its limits."""

from __future__ import annotations

import asyncio
from typing import Final, TypeVar

import msgspec
from aiohttp import web
from msgspec import Struct

from compute_ctl.errors import RequestError
from compute_ctl.http.api import JSON, RequestBody

T = TypeVar("T", bound=Struct)

_JSON_TYPES: Final = (JSON, "text/json")


async def read_body(request: web.BaseRequest, body: RequestBody, *, timeout_s: float) -> bytes:
    """Return the body.

    Raises:
        RequestError: 400 broken off, 408 too slow, 411 missing, 413 too big, 415 not plain JSON.
    """
    coding = request.headers.get("Content-Encoding", "identity")
    if coding.strip().lower() not in ("", "identity"):
        raise RequestError(415, "a Content-Encoding is not accepted")
    length = request.content_length
    chunked = "chunked" in request.headers.get("Transfer-Encoding", "").lower()
    if length is None and not chunked:
        if body.required:
            raise RequestError(411, "a body with a Content-Length is needed")
        return b""
    if length is not None and length > body.limit:
        raise too_big(body)
    try:
        async with asyncio.timeout(timeout_s):
            data = await _read(request, body)
    except TimeoutError:
        raise RequestError(408, f"the body did not arrive within {timeout_s:g} s") from None
    except (web.RequestPayloadError, ConnectionError) as error:
        raise RequestError(400, "the body was broken off") from error
    if data and request.content_type not in _JSON_TYPES:
        raise RequestError(415, f"expected request with content-type: {JSON}")
    return data


async def _read(request: web.BaseRequest, body: RequestBody) -> bytes:
    if request.headers.get("Expect", "").lower() == "100-continue":
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # the answer itself has not begun
    data = bytearray()
    async for chunk in request.content.iter_any():
        data += chunk
        if len(data) > body.limit:
            raise too_big(body)
    return bytes(data)


def decode(body: bytes, model: type[T]) -> T:
    """Read *body* as JSON of the shape *model*.

    Bytes that are no UTF-8 are replaced: an error text of Postgres may be in any encoding, and that
    must not cost the refresh.

    Raises:
        RequestError: 400 no JSON, 422 of another shape.
    """
    text = body.decode(errors="replace")
    try:
        return msgspec.json.decode(text, type=model)
    except msgspec.ValidationError as error:
        raise RequestError(422, f"the request body has the wrong shape: {error}") from error
    except (msgspec.DecodeError, RecursionError) as error:
        raise RequestError(400, f"the request body is not JSON: {error}") from error


def too_big(body: RequestBody) -> RequestError:
    """Return the error for a body over the limit."""
    return RequestError(413, f"the body is longer than {body.limit} bytes")
