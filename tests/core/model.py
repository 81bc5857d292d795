"""The wire format and the shard hash again, in Python and from the protocol's description only."""

import struct

from pg_hook import Request, RequestType, ResponseType

MASK = 0xFFFFFFFF


def murmur_finish(x: int) -> int:
    """The finaliser of MurmurHash3."""
    x ^= x >> 16
    x = x * 0x85EBCA6B & MASK
    x ^= x >> 13
    x = x * 0xC2B2AE35 & MASK
    return x ^ x >> 16


def hash_combine(a: int, b: int) -> int:
    """The hash combiner of the server."""
    return a ^ (b + 0x9E3779B9 + (a << 6 & MASK) + (a >> 2)) & MASK


def shard_of_block(rel_number: int, block: int, shard_count: int, stripe_size: int) -> int:
    """The shard of a block."""
    if shard_count < 2:
        return 0
    stripe = murmur_finish(block // stripe_size)
    return hash_combine(murmur_finish(rel_number), stripe) % shard_count


def relation(request: Request) -> bytes:
    """A relation on the wire."""
    return struct.pack(
        ">IIIB",
        request.tablespace_oid,
        request.database_oid,
        request.rel_number,
        request.fork,
    )


def key(request: Request) -> bytes:
    """What names the asked thing, in the request and in the echo of version 3."""
    match request.type:
        case RequestType.EXISTS | RequestType.NBLOCKS:
            return relation(request)
        case RequestType.GET_PAGE:
            return relation(request) + struct.pack(">I", request.block)
        case RequestType.DB_SIZE:
            return struct.pack(">I", request.database_oid)
        case RequestType.GET_SLRU_SEGMENT:
            return struct.pack(">BI", request.slru_kind, request.slru_segment)


def lsns(request: Request) -> bytes:
    """The two LSNs of a header."""
    return struct.pack(">QQ", request.request_lsn, request.not_modified_since)


def request_message(request: Request, version: int) -> bytes:
    """A whole request."""
    request_id = struct.pack(">Q", request.request_id) if version == 3 else b""
    return bytes([request.type]) + request_id + lsns(request) + key(request)


def response_message(request: Request, version: int, tag: int, value: bytes) -> bytes:
    """A whole answer with this tag and value."""
    if version == 2:
        return bytes([tag]) + value
    header = bytes([tag]) + struct.pack(">Q", request.request_id) + lsns(request)
    return header + (b"" if tag == ResponseType.ERROR else key(request)) + value
