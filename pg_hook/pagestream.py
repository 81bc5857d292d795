"""The pagestream protocol, versions 2 and 3: encode requests, decode answers."""

from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from pg_hook._pg_hook import ffi, lib
from pg_hook.errors import c_text, check, py_text

PAGE_SIZE: int = lib.PGH_PAGE_SIZE
NEWEST_LSN = 2**64 - 1


class RequestType(IntEnum):
    """What is asked; the number is the tag on the wire."""

    EXISTS = 0
    NBLOCKS = 1
    GET_PAGE = 2
    DB_SIZE = 3
    GET_SLRU_SEGMENT = 4


class ResponseType(IntEnum):
    """What is answered; the number is the tag on the wire."""

    EXISTS = 100
    NBLOCKS = 101
    GET_PAGE = 102
    ERROR = 103
    DB_SIZE = 104
    GET_SLRU_SEGMENT = 105


@dataclass(frozen=True, kw_only=True)
class Request:
    """One request; fields that its type does not use are ignored."""

    type: RequestType
    request_id: int = 0
    """Version 3 only; new for each sending."""
    request_lsn: int = NEWEST_LSN
    not_modified_since: int = 1
    tablespace_oid: int = 0
    database_oid: int = 0
    rel_number: int = 0
    fork: int = 0
    block: int = 0
    slru_kind: int = 0
    slru_segment: int = 0


@dataclass(frozen=True, kw_only=True)
class Response:
    """One decoded answer; fields that its type does not use keep their default."""

    type: ResponseType
    exists: bool = False
    block_count: int = 0
    """Blocks of a relation, or pages in ``pages``."""
    db_size_bytes: int = 0
    pages: bytes = b""
    text: bytes = b""
    """Of an error; any bytes."""


def _c_request(request: Request) -> Any:  # a C pointer has no Python type
    fields = {name: getattr(request, name) for name in Request.__dataclass_fields__}
    return ffi.new("struct pgh_request *", fields)


def encode_request(request: Request, *, version: int = 3) -> bytes:
    """Return the payload of the CopyData that asks.

    Raises:
        HookError: fork, SLRU kind or protocol version are unknown.

    """
    out = ffi.new("uint8_t[]", lib.PGH_REQUEST_SIZE_MAX)
    size = ffi.new("size_t *")
    code = lib.pgh_request_encode(_c_request(request), version, out, len(out), size)
    check(code, "encode request")
    return bytes(ffi.buffer(out, size[0]))


def decode_response(message: bytes, request: Request, *, version: int = 3) -> Response:
    """Decode the payload of a CopyData as the answer to the request.

    Raises:
        HookError: the message is malformed or answers another request; the stream is lost.

    """
    # exact size and own memory: a read past the end is a read past an allocation
    data = ffi.new("uint8_t[]", message) if message else ffi.new("uint8_t[]", 1)
    out = ffi.new("struct pgh_response *")
    code = lib.pgh_response_decode(data, len(message), version, _c_request(request), out)
    check(code, "decode response")
    pages = bytes(ffi.buffer(out.pages, out.block_count * PAGE_SIZE)) if out.pages else b""
    return Response(
        type=ResponseType(out.type),
        exists=out.exists,
        block_count=out.block_count,
        db_size_bytes=out.db_size_bytes,
        pages=pages,
        text=bytes(ffi.buffer(out.text, out.text_len)) if out.text else b"",
    )


def pagestream_query(tenant_id: str, timeline_id: str, *, version: int = 3) -> str:
    """Return the query that turns a connection into a pagestream.

    Raises:
        HookError: an id is not 32 hexadecimal digits, or the version is unknown.

    """
    action = "write pagestream query"
    tenant, timeline = c_text(tenant_id, action), c_text(timeline_id, action)
    out = ffi.new("char[]", lib.PGH_PAGESTREAM_QUERY_SIZE)
    check(lib.pgh_pagestream_query(version, tenant, timeline, out, len(out)), action)
    return py_text(out)
