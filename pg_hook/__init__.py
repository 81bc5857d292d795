"""The C core of compute-refresh for Python: tests, benches and a manual trigger.

The decisions are made in C (``pg_hook.h`` documents them); this face adds types and turns
result codes into exceptions. ``ffi`` and ``lib`` are the raw binding. The daemon does not use it.
"""

from pg_hook._pg_hook import ffi, lib
from pg_hook.errors import HookError
from pg_hook.pagestream import (
    Request,
    RequestType,
    Response,
    ResponseType,
    decode_response,
    encode_request,
    pagestream_query,
)
from pg_hook.shards import ShardMap, parse_shard_map, shard_of_block
from pg_hook.suspicion import (
    Cause,
    Certainty,
    Phase,
    Policy,
    Source,
    Trouble,
    Verdict,
    classify_client,
    classify_report,
)
from pg_hook.trigger import Answer, Endpoint, Trigger, parse_endpoint

__all__ = [
    "Answer",
    "Cause",
    "Certainty",
    "Endpoint",
    "HookError",
    "Phase",
    "Policy",
    "Request",
    "RequestType",
    "Response",
    "ResponseType",
    "ShardMap",
    "Source",
    "Trigger",
    "Trouble",
    "Verdict",
    "classify_client",
    "classify_report",
    "decode_response",
    "encode_request",
    "ffi",
    "jitter_us",
    "lib",
    "pagestream_query",
    "parse_endpoint",
    "parse_shard_map",
    "reconnect_delay_us",
    "redact",
    "shard_of_block",
]


def jitter_us(min_us: int, max_us: int, *, attempt: int, random: int) -> int:
    """Return a delay with full jitter; attempt counts from 0, random is 64 uniform bits."""
    return int(lib.pgh_jitter_us(min_us, max_us, attempt, random))


def reconnect_delay_us(consecutive_failures: int, *, random: int) -> int:
    """Return the delay before the next connection to a shard, 0 if it has not failed."""
    return int(lib.pgh_reconnect_delay_us(consecutive_failures, random))


def redact(text: bytes, *, size: int = 4096) -> bytes:
    """Return text without passwords, cut to less than size bytes."""
    data = ffi.new("char[]", len(text) or 1)  # no NUL behind it: the length must be enough
    ffi.memmove(data, text, len(text))
    out = ffi.new("char[]", size)
    length = lib.pgh_redact(data, len(text), out, size)
    return bytes(ffi.buffer(out, length))
