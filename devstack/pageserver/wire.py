"""Bytes of the libpq protocol that a pageserver reads and writes. Pure: no I/O, no state.

Sizes and field orders follow the reference server, which is stricter than PostgreSQL in places
(start-up packets of at most 10000 bytes) and terser in others (three error fields, no key data).
"""

import struct
from dataclasses import dataclass
from itertools import pairwise

SSL_REQUEST = 80877103
GSSENC_REQUEST = 80877104
CANCEL_REQUEST = 80877102
MIN_STARTUP = 8
MAX_STARTUP = 10_000
MAX_MESSAGE = 1 << 30  # a client message longer than this is garbage, not a request

CONNECTION_FAILURE = "08006"
ADMIN_SHUTDOWN = "57P01"
INTERNAL_ERROR = "XX000"


class WireError(Exception):
    """The client broke the protocol; the connection is dropped without an answer."""


@dataclass(frozen=True, kw_only=True)
class StartupPacket:
    """A packet of the start-up phase: a request code, or protocol 3 with its parameters."""

    code: int
    params: dict[str, str]


def take_startup(buffer: bytearray) -> StartupPacket | None:
    """Remove one start-up packet from `buffer`; None while it is incomplete.

    Raises WireError for a length or a body that the reference refuses.
    """
    if len(buffer) < 4:
        return None
    (length,) = struct.unpack_from("!I", buffer)
    if not MIN_STARTUP <= length <= MAX_STARTUP:
        raise WireError(f"invalid startup packet length {length}")
    if len(buffer) < length:
        return None
    (code,) = struct.unpack_from("!I", buffer, 4)
    body = bytes(buffer[8:length])
    del buffer[:length]
    if code in (SSL_REQUEST, GSSENC_REQUEST, CANCEL_REQUEST):
        return StartupPacket(code=code, params={})
    return StartupPacket(code=code, params=_startup_params(body))


def _startup_params(body: bytes) -> dict[str, str]:
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise WireError("startup packet is not valid UTF-8") from error
    if not text.endswith("\0"):
        raise WireError("startup packet has no terminator")
    words = text.rstrip("\0").split("\0")
    if words == [""]:
        return {}
    if len(words) % 2:
        # an empty last value loses its NUL to rstrip
        words.append("")
    return dict(zip(words[::2], words[1::2], strict=True))


def take_message(buffer: bytearray) -> tuple[bytes, bytes] | None:
    """Remove one typed message from `buffer`: (type byte, body); None while it is incomplete."""
    if len(buffer) < 5:
        return None
    (length,) = struct.unpack_from("!I", buffer, 1)
    if not 4 <= length <= MAX_MESSAGE:
        raise WireError(f"invalid message length {length}")
    if len(buffer) < length + 1:
        return None
    kind, body = bytes(buffer[:1]), bytes(buffer[5 : length + 1])
    del buffer[: length + 1]
    return kind, body


def compute_mode(options: str) -> str | None:
    """The value of `neon.compute_mode` in start-up options; malformed options are ignored."""
    mode = None
    words = options.split()
    for flag, setting in pairwise(words):
        name, equals, value = setting.partition("=")
        if flag == "-c" and equals and name == "neon.compute_mode":
            mode = value
    return mode


def message(kind: bytes, body: bytes = b"") -> bytes:
    """One typed message."""
    return kind + struct.pack("!I", len(body) + 4) + body


def parameter_status(name: str, value: str) -> bytes:
    """ParameterStatus."""
    return message(b"S", name.encode() + b"\0" + value.encode() + b"\0")


def error_response(sqlstate: str, text: str) -> bytes:
    """ErrorResponse with the reference's three fields: S (always ERROR), C, M."""
    return message(b"E", b"SERROR\0C" + sqlstate.encode() + b"\0M" + text.encode() + b"\0\0")


def text_row(name: str, value: str | None) -> bytes:
    """RowDescription and DataRow of one text column; None is NULL."""
    described = name.encode() + b"\0" + struct.pack("!IhIhih", 0, 0, 25, -1, -1, 0)
    cell = b"\xff" * 4 if value is None else struct.pack("!I", len(value)) + value.encode()
    one = struct.pack("!H", 1)
    return message(b"T", one + described) + message(b"D", one + cell)


def copy_data(payload: bytes) -> bytes:
    """CopyData."""
    return message(b"d", payload)


NO_ENCRYPTION = b"N"  # the answer to SSLRequest and GSSENCRequest has no length
AUTH_OK = message(b"R", struct.pack("!I", 0))
AUTH_CLEARTEXT = message(b"R", struct.pack("!I", 3))
READY = message(b"Z", b"I")
COPY_BOTH = message(b"W", b"\0\0\0")
COPY_OUT = message(b"H", b"\0\0\0")
COPY_DONE = message(b"c")
COPY_FAIL = message(b"f", b"copy failed\0")
COMMAND_COMPLETE = message(b"C", b"SELECT 1\0")
PARSE_COMPLETE, BIND_COMPLETE, CLOSE_COMPLETE = message(b"1"), message(b"2"), message(b"3")
NO_PARAMETERS, NO_DATA = message(b"t", b"\0\0"), message(b"n")

TRUST_WELCOME = (
    AUTH_OK
    + parameter_status("client_encoding", "UTF8")
    + parameter_status("integer_datetimes", "on")
    + parameter_status("server_version", "14.1")
    + READY
)
# A token login gets fewer parameters, so libpq then reports server version 0.
TOKEN_WELCOME = AUTH_OK + parameter_status("client_encoding", "UTF8") + READY
