"""What a pageserver may do, and what it must be taken for: the tables of test_failures.py."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What the extension makes of it, and what the client of Postgres sees."""

    trouble: str
    phase: str = "response"  # alternatives with |
    sqlstate: str | None = None
    certainty: str = "suspect"
    text: str  # of the event, a regular expression
    kept: bool = False  # the connection outlives the suspicion: an answer may still come
    error: str | None = None  # SQLSTATE that ends the query at once
    error_text: str = ""


@dataclass(frozen=True, kw_only=True)
class Situation:
    """What the pageserver does, and what it must be taken for."""

    kind: str
    phase: str | None = None
    more: dict[str, Any] = field(default_factory=dict)
    seen: Seen

    def __str__(self) -> str:
        text = f"{self.kind} {self.phase or ''} {' '.join(map(str, self.more.values()))}"
        return " ".join(text.split())


# libpq's words; what stands around them differs between its versions
CUT_OFF = ".*(server closed the connection unexpectedly|Connection reset by peer).*"
LATE = "no answer before the deadline"
STILL_WAITING = "no answer for [0-9]+ ms"


def dead(phase: str = "response", text: str = CUT_OFF) -> Seen:
    """Refused or cut off."""
    return Seen(trouble="dead", phase=phase, text=text)


def silent(phase: str = "response", text: str = LATE, *, sqlstate: str | None = None) -> Seen:
    """No answer, or the server says that it is late; in a stream our wait goes on."""
    return Seen(
        trouble="silent", phase=phase, text=text, sqlstate=sqlstate, kept=text == STILL_WAITING
    )


def refused(text: str, *, sqlstate: str | None = "XX000", phase: str = "response") -> Seen:
    """The server says no; it may be a restart or a wrong key."""
    return Seen(trouble="wrong", phase=phase, sqlstate=sqlstate, text=text)


def elsewhere(text: str, *, sqlstate: str | None = "XX000") -> Seen:
    """The server says that what we look for is not there."""
    return Seen(trouble="wrong", sqlstate=sqlstate, text=text, certainty="certain")


def malformed(text: str) -> Seen:
    """An answer that makes no sense: an error for the client, never a crash."""
    return Seen(
        trouble="nonsense",
        text=text,
        error="08P01",
        error_text=f"pageserver of shard 0 sent a malformed answer: {text}",
    )


NO_LOGIN = "JWT authentication error"
HANDSHAKE = [
    Situation(kind="refuse", seen=dead("connect", ".*Connection refused.*")),
    Situation(kind="close", phase="accept", seen=dead("startup")),
    # the reset may be seen before libpq learns that it is connected
    Situation(kind="reset", phase="accept", seen=dead("connect|startup")),
    Situation(kind="close", phase="startup", seen=dead("startup")),
    Situation(kind="reset", phase="startup", seen=dead("startup")),
    Situation(kind="close", phase="auth", seen=dead("startup")),
    Situation(kind="close", phase="pagestream", seen=dead("pagestream")),
    Situation(kind="reset", phase="pagestream", seen=dead("pagestream")),
    Situation(kind="silent", phase="accept", seen=silent("startup")),
    Situation(kind="silent", phase="startup", seen=silent("startup")),
    Situation(kind="silent", phase="auth", seen=silent("startup")),
    Situation(kind="silent", phase="pagestream", seen=silent("pagestream")),
    Situation(
        kind="auth_fail", seen=refused(f".*ERROR:  {NO_LOGIN}", sqlstate=None, phase="startup")
    ),
    Situation(kind="refuse_query", seen=refused(NO_LOGIN, phase="pagestream")),
    Situation(
        kind="refuse_query",
        more={"text": "unsupported command pagestream_v3"},
        seen=Seen(trouble="nonsense", phase="pagestream", sqlstate="XX000", text="unsupported .+"),
    ),
]

OTHER = "message answers another request"
RESPONSE = [
    Situation(kind="close", phase="response", seen=dead()),
    Situation(kind="reset", phase="response", seen=dead()),
    Situation(kind="silent", phase="response", seen=silent(text=STILL_WAITING)),
    Situation(
        kind="half_message",
        more={"end": "silence"},
        seen=silent(text=STILL_WAITING),
    ),
    Situation(kind="half_message", more={"end": "fin"}, seen=dead()),
    Situation(kind="reconnect", seen=elsewhere("reconnect", sqlstate="08006")),
    Situation(kind="shutdown", seen=refused("shutdown", sqlstate="57P01")),
    Situation(kind="timed_out", seen=silent(text="timed out", sqlstate="08006")),
    Situation(kind="not_found", seen=elsewhere("not found")),
    Situation(
        kind="error",
        more={"text": "Not found: Timeline 1/2 was not found"},
        seen=elsewhere("Not found: Timeline 1/2 was not found", sqlstate=None),
    ),
    Situation(
        kind="error",
        more={"text": "Not found: Tenant is broken: disk"},
        seen=elsewhere("Not found: Tenant is broken: disk", sqlstate=None),
    ),
    Situation(
        kind="error",
        more={"text": "Not found: Timed out waiting 5s for tenant active state"},
        seen=silent(text="Not found: Timed out waiting 5s for tenant active state"),
    ),
    Situation(
        kind="error",
        more={"text": "LSN timeout: Timed out"},
        seen=silent(text="LSN timeout: Timed out"),
    ),
    Situation(kind="bad_framing", seen=malformed("lost synchronization with server.*")),
    Situation(kind="wrong_echo", more={"field": "reqid"}, seen=malformed(OTHER)),
    Situation(kind="wrong_echo", more={"field": "request_lsn"}, seen=malformed(OTHER)),
    Situation(kind="wrong_tag", seen=malformed("message has an unknown tag")),
    Situation(kind="wrong_type", seen=malformed("message does not answer this kind of request")),
    Situation(kind="truncated", seen=malformed("message is too short")),
    Situation(kind="trailing", seen=malformed("message is too long")),
    Situation(kind="copy_done", seen=malformed("the server ended the copy of its own accord")),
    Situation(kind="copy_fail", seen=malformed("unexpected response from server.*")),
]

# of a page, and of everything else: what a real pageserver says
TENANTS = {
    "detached": (elsewhere("reconnect", sqlstate="08006"), elsewhere("not found")),
    "secondary": (elsewhere("reconnect", sqlstate="08006"), elsewhere("not found")),
    "stopping": (refused("shutdown", sqlstate="57P01"), refused("shutdown", sqlstate="57P01")),
    "broken": (
        elsewhere("Not found: Tenant is broken: .+", sqlstate=None),
        elsewhere("Tenant is broken: .+"),
    ),
    "timeline_missing": (
        elsewhere("Not found: Timeline .+ was not found", sqlstate=None),
        elsewhere("not found"),
    ),
    "attaching": (silent(text=STILL_WAITING), silent(text=STILL_WAITING)),
}
