"""The page stream's own messages, versions 2 and 3: decode requests, encode answers. Pure.

All integers are big-endian. Version 3 answers echo the whole request head and the object asked for,
so every answer is built from its request.
"""

import struct
from dataclasses import dataclass
from typing import Literal

BLOCK_SIZE = 8192
MAX_LSN = 0xFFFF_FFFF_FFFF_FFFF

MAIN_FORK, FSM_FORK, VM_FORK, INIT_FORK = 0, 1, 2, 3

RequestKind = Literal["exists", "nblocks", "getpage", "dbsize", "slru"]
KINDS: dict[int, RequestKind] = {0: "exists", 1: "nblocks", 2: "getpage", 3: "dbsize", 4: "slru"}
RESPONSE_TAGS: dict[RequestKind, int] = {
    "exists": 100,
    "nblocks": 101,
    "getpage": 102,
    "dbsize": 104,
    "slru": 105,
}
ERROR_TAG = 103


class DecodeError(Exception):
    """A request that cannot be decoded; its text goes to the client as XX000."""


@dataclass(frozen=True, kw_only=True)
class Rel:
    """A relation fork: tablespace, database (0 for shared), file number, fork."""

    spcnode: int
    dbnode: int
    relnode: int
    forknum: int


@dataclass(frozen=True, kw_only=True)
class Request:
    """One request. Of the object fields only those of its kind mean anything.

    `reqid` is 0 in version 2. LSNs are byte positions; MAX_LSN asks for the newest.
    """

    kind: RequestKind
    version: int
    reqid: int
    request_lsn: int
    not_modified_since: int
    rel: Rel = Rel(spcnode=0, dbnode=0, relnode=0, forknum=0)
    blkno: int = 0
    dbnode: int = 0
    slru_kind: int = 0
    segno: int = 0


class _Reader:
    """Reads integers off a payload; bytes after the last one are ignored, as the reference does."""

    def __init__(self, payload: bytes) -> None:
        self._payload = payload
        self._at = 0

    def take(self, layout: str) -> tuple[int, ...]:
        try:
            values = struct.unpack_from(layout, self._payload, self._at)
        except struct.error as error:
            raise DecodeError("failed to fill whole buffer") from error
        self._at += struct.calcsize(layout)
        return values


def decode_request(payload: bytes, version: int) -> Request:
    """Decode one request of protocol `version` (2 or 3). Raises DecodeError."""
    reader = _Reader(payload)
    (tag,) = reader.take("!B")
    reqid = reader.take("!Q")[0] if version == 3 else 0
    request_lsn, not_modified_since = reader.take("!QQ")
    if tag not in KINDS:
        raise DecodeError(f"invalid tag {tag}")
    kind = KINDS[tag]
    rel, blkno, dbnode, slru_kind, segno = Request.rel, 0, 0, 0, 0
    if kind in ("exists", "nblocks", "getpage"):
        spc, db, number, fork = reader.take("!IIIB")
        rel = Rel(spcnode=spc, dbnode=db, relnode=number, forknum=fork)
    if kind == "getpage":
        (blkno,) = reader.take("!I")
    elif kind == "dbsize":
        (dbnode,) = reader.take("!I")
    elif kind == "slru":
        slru_kind, segno = reader.take("!BI")
    return Request(
        kind=kind,
        version=version,
        reqid=reqid,
        request_lsn=request_lsn,
        not_modified_since=not_modified_since,
        rel=rel,
        blkno=blkno,
        dbnode=dbnode,
        slru_kind=slru_kind,
        segno=segno,
    )


def head(request: Request, tag: int) -> bytes:
    """The answer's head: the tag, and in version 3 the request's three numbers."""
    if request.version == 2:
        return bytes([tag])
    numbers = (request.reqid, request.request_lsn, request.not_modified_since)
    return struct.pack("!BQQQ", tag, *numbers)


def echo(request: Request) -> bytes:
    """What version 3 repeats of the object asked for, after the head; empty in version 2."""
    if request.version == 2:
        return b""
    if request.kind == "dbsize":
        return struct.pack("!I", request.dbnode)
    if request.kind == "slru":
        return struct.pack("!BI", request.slru_kind, request.segno)
    rel = request.rel
    fork = struct.pack("!IIIB", rel.spcnode, rel.dbnode, rel.relnode, rel.forknum)
    return fork + struct.pack("!I", request.blkno) if request.kind == "getpage" else fork


def encode_answer(request: Request, body: bytes) -> bytes:
    """A data answer: head, echo, then `body` as made by the functions below."""
    return head(request, RESPONSE_TAGS[request.kind]) + echo(request) + body


def encode_error(request: Request, text: str) -> bytes:
    """The in-band error answer, which leaves the stream usable."""
    return head(request, ERROR_TAG) + text.encode() + b"\0"


def exists_body(exists: bool) -> bytes:
    """Body of an Exists answer."""
    return bytes([exists])


def nblocks_body(blocks: int) -> bytes:
    """Body of an Nblocks answer: the fork's length in blocks."""
    return struct.pack("!I", blocks)


def dbsize_body(size: int) -> bytes:
    """Body of a DbSize answer: bytes."""
    return struct.pack("!q", size)


def slru_body(segment: bytes) -> bytes:
    """Body of a GetSlruSegment answer: whole blocks only."""
    blocks = len(segment) // BLOCK_SIZE
    return struct.pack("!I", blocks) + segment[: blocks * BLOCK_SIZE]


def format_lsn(lsn: int) -> str:
    """PostgreSQL's spelling of a WAL position, `HI/LO` in upper-case hex."""
    return f"{lsn >> 32:X}/{lsn & 0xFFFF_FFFF:X}"


def parse_lsn(text: str) -> int:
    """The inverse of `format_lsn`. Raises ValueError."""
    high, slash, low = text.partition("/")
    if not slash:
        raise ValueError(f'invalid LSN "{text}"')
    return (int(high, 16) << 32) | int(low, 16)
