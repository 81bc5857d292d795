"""One client connection as a state machine without I/O.

Bytes go in with `feed`, events come out of `next_event`; what the server decides to say goes
through `admit`, `ask_token`, `begin_stream`, `end_stream`, which return the bytes to send and move
the state. A protocol breach raises WireError: the connection is then dropped without an answer.
"""

import enum
import re
from dataclasses import dataclass

from devstack.pageserver import wire
from devstack.pageserver.messages import parse_lsn
from devstack.pageserver.wire import WireError


class Phase(enum.Enum):
    """Where a connection is."""

    STARTUP = "startup"  # waits for a StartupMessage; encryption requests do not leave it
    TOKEN = "token"  # asked for the password, waits for it
    IDLE = "idle"  # logged in, waits for a query
    STREAM = "stream"  # in COPY mode: requests come as CopyData


@dataclass(frozen=True, kw_only=True)
class EncryptionRequested:
    """SSLRequest or GSSENCRequest; the answer is wire.NO_ENCRYPTION."""


@dataclass(frozen=True, kw_only=True)
class Startup:
    """A StartupMessage; answer with `admit` or `ask_token`."""

    params: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class Token:
    """The password message; answer with `admit` or refuse."""

    text: str


@dataclass(frozen=True, kw_only=True)
class StreamQuery:
    """`pagestream_v2|v3 TENANT TIMELINE`; answer with `begin_stream` or `refuse_query`."""

    version: int
    tenant: str
    timeline: str


@dataclass(frozen=True, kw_only=True)
class BackupQuery:
    """`basebackup TENANT TIMELINE [LSN] [--gzip] [--replica]`.

    Whoever takes it sends the archive, and then `complete`. `lsn` is None for the newest.
    """

    tenant: str
    timeline: str
    lsn: int | None = None
    gzip: bool = False
    replica: bool = False


@dataclass(frozen=True, kw_only=True)
class LeaseQuery:
    """`lease lsn TENANT[-NNCC] TIMELINE LSN`; whoever takes it sends a row, and then `complete`."""

    tenant: str
    timeline: str
    lsn: int


@dataclass(frozen=True, kw_only=True)
class OtherQuery:
    """A query whose whole answer is known already."""

    answer: bytes


@dataclass(frozen=True, kw_only=True)
class Payload:
    """One request of the stream, still encoded."""

    data: bytes
    stream: StreamQuery


@dataclass(frozen=True, kw_only=True)
class Stray:
    """A message that has no place in a stream; it ends the stream with `text`."""

    text: str


@dataclass(frozen=True, kw_only=True)
class Terminate:
    """The client said goodbye."""


Event = (
    EncryptionRequested
    | Startup
    | Token
    | StreamQuery
    | BackupQuery
    | LeaseQuery
    | OtherQuery
    | Payload
    | Stray
    | Terminate
)

_STRAY_NAMES = {b"c": "CopyDone", b"f": "CopyFail", b"S": "Sync", b"H": "Flush", b"Q": "Query"}
_STREAM_COMMANDS = {"pagestream_v2": 2, "pagestream_v3": 3}
_HEX_ID = re.compile(r"[0-9a-fA-F]{32}")
_TENANT_SHARD = re.compile(r"[0-9a-fA-F]{32}(-[0-9a-fA-F]{4})?")
_EXTENDED = {
    b"P": wire.PARSE_COMPLETE,
    b"B": wire.BIND_COMPLETE,
    b"C": wire.CLOSE_COMPLETE,
    b"H": b"",  # Flush: nothing is held back
    b"D": b"",
    b"E": b"",
}


class Session:
    """The state of one connection."""

    def __init__(self) -> None:
        self.phase = Phase.STARTUP
        self.stream: StreamQuery | None = None  # the last stream that was begun
        self._buffer = bytearray()
        self._prepared = b""  # the statement of the last Parse
        self._extended = False  # ReadyForQuery is the answer to Sync, not to the query

    def feed(self, data: bytes) -> None:
        """Take bytes from the client."""
        self._buffer += data

    def next_event(self) -> Event | None:
        """The next event, or None until more bytes come. Raises WireError."""
        if self.phase is Phase.STARTUP:
            return self._startup_event()
        taken = wire.take_message(self._buffer)
        if taken is None:
            return None
        kind, body = taken
        if self.phase is Phase.TOKEN:
            if kind != b"p":
                raise WireError(f"expected a password message, got {kind!r}")
            return Token(text=body[:-1].decode("utf-8", "replace"))
        if kind == b"X":
            return Terminate()
        if self.phase is Phase.STREAM and self.stream is not None:
            return _stream_event(self.stream, kind, body)
        return self._query(kind, body)

    def _query(self, kind: bytes, body: bytes) -> Event:
        """Take a query; of the extended protocol as much as one without parameters needs."""
        if kind not in _EXTENDED:
            self._extended = False
            return _query_event(kind, body)
        if kind == b"E":
            self._extended = True
            event = _query_event(b"Q", self._prepared)
            if isinstance(event, OtherQuery):
                return OtherQuery(answer=event.answer.removesuffix(wire.READY))
            return event
        if kind == b"P":
            self._prepared = body.split(b"\0", 2)[1]
        if kind == b"D":
            parameters = wire.NO_PARAMETERS if body[:1] == b"S" else b""
            return OtherQuery(answer=parameters + wire.NO_DATA)
        return OtherQuery(answer=_EXTENDED[kind])

    def _startup_event(self) -> Event | None:
        packet = wire.take_startup(self._buffer)
        if packet is None:
            return None
        if packet.code == wire.CANCEL_REQUEST:
            raise WireError("unexpected CancelRequest during the handshake")
        if packet.code in (wire.SSL_REQUEST, wire.GSSENC_REQUEST):
            return EncryptionRequested()
        return Startup(params=packet.params)

    def ask_token(self) -> bytes:
        """Ask for the password."""
        self.phase = Phase.TOKEN
        return wire.AUTH_CLEARTEXT

    def admit(self) -> bytes:
        """Let the client in; what it is told depends on how it came."""
        welcome = wire.TOKEN_WELCOME if self.phase is Phase.TOKEN else wire.TRUST_WELCOME
        self.phase = Phase.IDLE
        return welcome

    def begin_stream(self, query: StreamQuery) -> bytes:
        """Accept a pagestream query. The reference does so before it looks for the tenant."""
        self.stream = query
        self.phase = Phase.STREAM
        return wire.COPY_BOTH

    def end_stream(self, sqlstate: str, text: str, *, ready: bool) -> bytes:
        """Leave the stream, or refuse a query; `ready` adds ReadyForQuery to the ErrorResponse."""
        self.phase = Phase.IDLE
        return wire.error_response(sqlstate, text) + (self._ready if ready else b"")

    def complete(self) -> bytes:
        """End a query that was answered."""
        return wire.COMMAND_COMPLETE + self._ready

    @property
    def _ready(self) -> bytes:
        return b"" if self._extended else wire.READY


def _stream_event(stream: StreamQuery, kind: bytes, body: bytes) -> Event:
    if kind == b"d":
        return Payload(data=body, stream=stream)
    name = _STRAY_NAMES.get(kind, repr(kind))
    return Stray(text=f"unexpected message: {name} during COPY")


def _query_event(kind: bytes, body: bytes) -> Event:
    if kind == b"S":
        return OtherQuery(answer=wire.READY)
    if kind != b"Q":
        # CopyData after the stream has ended lands here: the reference hangs up
        raise WireError(f"unexpected message type {kind!r}")
    text = body.rstrip(b"\0").decode("utf-8", "replace").strip()
    command, _, rest = text.partition(" ")
    version = _STREAM_COMMANDS.get(command.lower())
    if version is not None:
        return _stream_query(version, rest.split())
    if command.lower() == "basebackup":
        return _backup_query(rest.split())
    if command.lower() == "lease":
        return _lease_query(rest.split())
    if command.lower() == "set":
        return OtherQuery(answer=wire.message(b"C", b"SELECT 1\0") + wire.READY)
    return _refusal(f"unsupported command {text}")


def _stream_query(version: int, words: list[str]) -> Event:
    if len(words) != 2:
        return _refusal("invalid param number for pagestream command")
    for name, word in zip(("tenant", "timeline"), words, strict=True):
        if not _HEX_ID.fullmatch(word):
            return _refusal(f"Failed to parse {name} id from {word}")
    return StreamQuery(version=version, tenant=words[0].lower(), timeline=words[1].lower())


def _backup_query(words: list[str]) -> Event:
    flags = {word for word in words if word.startswith("--")}
    names = [word for word in words if word not in flags]
    if len(names) not in (2, 3) or flags - {"--gzip", "--replica"}:
        return _refusal("invalid arguments of the basebackup command")
    if not all(map(_HEX_ID.fullmatch, names[:2])):
        return _refusal("Failed to parse tenant or timeline id")
    try:
        lsn = parse_lsn(names[2]) if names[2:] else None
    except ValueError as error:
        return _refusal(str(error))
    return BackupQuery(
        tenant=names[0].lower(),
        timeline=names[1].lower(),
        lsn=lsn,
        gzip="--gzip" in flags,
        replica="--replica" in flags,
    )


def _lease_query(words: list[str]) -> Event:
    if len(words) != 4 or words[0].lower() != "lsn":
        return _refusal("invalid arguments of the lease command")
    if not (_TENANT_SHARD.fullmatch(words[1]) and _HEX_ID.fullmatch(words[2])):
        return _refusal("Failed to parse tenant or timeline id")
    try:
        lsn = parse_lsn(words[3])
    except ValueError as error:
        return _refusal(str(error))
    return LeaseQuery(tenant=words[1][:32].lower(), timeline=words[2].lower(), lsn=lsn)


def _refusal(text: str) -> OtherQuery:
    return OtherQuery(answer=wire.error_response(wire.INTERNAL_ERROR, text) + wire.READY)
