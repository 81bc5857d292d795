"""What an event means, and when to ask the daemon because of it."""

from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from pg_hook._pg_hook import ffi, lib
from pg_hook.errors import c_text

NEVER = 2**64 - 1


class Source(IntEnum):
    """Who is in trouble."""

    PAGESERVER = 0
    SAFEKEEPER = 1
    PRIMARY = 2


class Phase(IntEnum):
    """How far the connection had come."""

    CONNECT = 0
    STARTUP = 1
    PAGESTREAM = 2
    RESPONSE = 3


class Cause(IntEnum):
    """How our own client noticed."""

    ANSWER = 0
    CONNECTION = 1
    DEADLINE = 2
    SERVER_ERROR = 3
    PAGE_ERROR = 4
    MALFORMED = 5


class Trouble(IntEnum):
    """What is wrong."""

    NONE = 0
    DEAD = 1
    SILENT = 2
    WRONG = 3
    NONSENSE = 4


class Certainty(IntEnum):
    """How much it takes: CERTAIN needs no second failure."""

    NONE = 0
    SUSPECT = 1
    CERTAIN = 2


class StreamState(IntEnum):
    """Of what a report of Neon's pageserver client speaks."""

    ATTEMPT = 0
    CONNECTED = 1
    IN_USE = 2
    ENDED = 3


class ReportEndpoint(IntEnum):
    """Which endpoint the message of a report names."""

    UNKNOWN = 0
    SAME = 1
    OTHER = 2


class Value(IntEnum):
    """What a report is worth after those before it."""

    COUNTS = 0
    WAITS = 1
    REPEATS = 2
    STALE = 3
    CONNECTED = 4


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What an event means; the fields are those of ``struct pgh_verdict``."""

    source: Source
    trouble: Trouble
    certainty: Certainty
    useful: bool
    retry_at_once: bool
    shard: int
    peer: int
    stream: StreamState


def _verdict(out: Any) -> Verdict:  # a C pointer has no Python type
    return Verdict(
        source=Source(out.source),
        trouble=Trouble(out.trouble),
        certainty=Certainty(out.certainty),
        useful=out.useful,
        retry_at_once=out.retry_at_once,
        shard=out.shard,
        peer=out.peer,
        stream=StreamState(out.stream),
    )


def classify_client(
    phase: Phase,
    cause: Cause,
    *,
    sqlstate: str = "",
    text: str = "",
    idle_before_request: bool = False,
    already_retried: bool = False,
) -> Verdict:
    """Judge an event of our own pageserver client."""
    state = ffi.new("char[]", c_text(sqlstate, "classify event"))
    # no NUL behind the text: its length must be enough
    data = text.encode()
    message = ffi.new("char[]", len(data) or 1)
    ffi.memmove(message, data, len(data))
    event = ffi.new(
        "struct pgh_client_event *",
        {
            "phase": phase,
            "cause": cause,
            "sqlstate": state,
            "text": message,
            "text_len": len(data),
            "idle_before_request": idle_before_request,
            "already_retried": already_retried,
        },
    )
    out = ffi.new("struct pgh_verdict *")
    lib.pgh_classify_client(event, out)
    return _verdict(out)


def classify_report(
    message_id: str | None,
    message: str = "",
    *,
    sqlstate: str = "XX000",
    detail: str = "",
    is_wal_receiver: bool = False,
) -> Verdict | None:
    """Judge a report in the server log; None for one that is not ours to judge."""
    action = "classify report"
    out = ffi.new("struct pgh_verdict *")
    ours = lib.pgh_classify_report(
        is_wal_receiver,
        c_text(sqlstate, action),
        ffi.NULL if message_id is None else c_text(message_id, action),
        c_text(message, action),
        c_text(detail, action),
        out,
    )
    return _verdict(out) if ours else None


def report_names(message: str, endpoint: str) -> ReportEndpoint:
    """Tell which endpoint a report's message names, *endpoint* being the current one."""
    action = "read a report"
    return ReportEndpoint(lib.pgh_report_names(c_text(message, action), c_text(endpoint, action)))


class Stream:
    """What one process has reported of one shard."""

    def __init__(self) -> None:
        self._stream = ffi.new("struct pgh_stream *")

    def report(
        self,
        verdict: Verdict,
        now_us: int,
        *,
        names: ReportEndpoint = ReportEndpoint.UNKNOWN,
        renewals: int = 1,
    ) -> Value:
        """Weigh a report; *renewals* counts the endpoints that the shard has had."""
        given = ffi.new("struct pgh_verdict *", {"stream": verdict.stream})
        return Value(lib.pgh_stream_report(self._stream, given, names, renewals, now_us))


class Policy:
    """When the worker asks. Times in microseconds of any monotonic clock that never shows 0."""

    def __init__(
        self,
        *,
        seed: int = 0,
        retry_min_us: int | None = None,
        retry_max_us: int | None = None,
        report_quiet_us: int | None = None,
        own_quiet_us: int | None = None,
    ) -> None:
        self._config = ffi.new("struct pgh_policy_config *")
        lib.pgh_policy_config_init(self._config)
        given = {
            "retry_min_us": retry_min_us,
            "retry_max_us": retry_max_us,
            "report_quiet_us": report_quiet_us,
            "own_quiet_us": own_quiet_us,
        }
        for name, value in given.items():
            if value is not None:
                setattr(self._config, name, value)
        self._policy = ffi.new("struct pgh_policy *")
        lib.pgh_policy_init(self._policy, seed)

    def event(
        self, source: Source, now_us: int, *, shard: int = -1, reported: bool = False
    ) -> None:
        """Take a suspicion in; reported = known by reports of others only."""
        lib.pgh_policy_event(self._policy, self._config, source, shard, reported, now_us)

    def ask(self, now_us: int) -> None:
        """Wish one request, without suspicion."""
        lib.pgh_policy_ask(self._policy, self._config, now_us)

    def end(self, source: Source, now_us: int, *, shard: int = -1) -> None:
        """End the suspicion of a shard, or of the whole source."""
        lib.pgh_policy_end(self._policy, source, shard, now_us)

    def renewed(self, shard: int, now_us: int) -> None:
        """Note that a shard has a new endpoint."""
        lib.pgh_policy_renewed(self._policy, self._config, shard, now_us)

    def due(self, now_us: int) -> bool:
        """Tell whether a request is to be sent now."""
        return bool(lib.pgh_policy_due(self._policy, self._config, now_us))

    def sent(self, now_us: int) -> int:
        """Note that the request went out; return how many events it stands for."""
        return int(lib.pgh_policy_sent(self._policy, now_us))

    def finished(self, now_us: int) -> None:
        """Note that the request ended, however."""
        lib.pgh_policy_finished(self._policy, self._config, now_us)

    def wait_us(self, now_us: int) -> int:
        """Return the time until a request is due, or NEVER."""
        return int(lib.pgh_policy_wait_us(self._policy, now_us))

    @property
    def retry_max_us(self) -> int:
        """The longest pause between two requests; may change at any time."""
        return int(self._config.retry_max_us)

    @retry_max_us.setter
    def retry_max_us(self, value: int) -> None:
        self._config.retry_max_us = value

    @property
    def suspects(self) -> bool:
        """Whether anything is suspected."""
        return bool(lib.pgh_policy_suspects(self._policy))

    @property
    def coalesced_total(self) -> int:
        """Events that shared a request with an earlier one."""
        return int(self._policy.coalesced_total)
