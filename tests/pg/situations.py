"""What a pageserver may do, and what it must be taken for: the tables of test_failures.py."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Situation:
    """What the pageserver does, and what it must be taken for."""

    kind: str
    phase: str | None = None
    more: dict[str, Any] = field(default_factory=dict)
    seen: tuple[str, str, str | None, str]  # class, phase, SQLSTATE, certainty
    error: str | None = None  # SQLSTATE that ends the query at once

    def __str__(self) -> str:
        text = f"{self.kind} {self.phase or ''} {' '.join(map(str, self.more.values()))}"
        return " ".join(text.split())


def refuses(sqlstate: str, *, certainty: str = "suspect", phase: str = "response") -> Any:
    """Shorthand for a server that says no."""
    return ("wrong", phase, sqlstate, certainty)


DEAD = ("dead", "response", None, "suspect")
SILENT = ("silent", "response", None, "suspect")
NONSENSE = ("nonsense", "response", None, "suspect")

HANDSHAKE = [
    Situation(kind="refuse", seen=("dead", "connect", None, "suspect")),
    Situation(kind="close", phase="accept", seen=("dead", "startup", None, "suspect")),
    # the reset may be seen before libpq learns that it is connected
    Situation(kind="reset", phase="accept", seen=("dead", "connect|startup", None, "suspect")),
    Situation(kind="close", phase="startup", seen=("dead", "startup", None, "suspect")),
    Situation(kind="reset", phase="startup", seen=("dead", "startup", None, "suspect")),
    Situation(kind="close", phase="auth", seen=("dead", "startup", None, "suspect")),
    Situation(kind="close", phase="pagestream", seen=("dead", "pagestream", None, "suspect")),
    Situation(kind="reset", phase="pagestream", seen=("dead", "pagestream", None, "suspect")),
    Situation(kind="silent", phase="accept", seen=("silent", "startup", None, "suspect")),
    Situation(kind="silent", phase="startup", seen=("silent", "startup", None, "suspect")),
    Situation(kind="silent", phase="auth", seen=("silent", "startup", None, "suspect")),
    Situation(kind="silent", phase="pagestream", seen=("silent", "pagestream", None, "suspect")),
    Situation(kind="auth_fail", seen=("wrong", "startup", None, "suspect")),
    Situation(kind="refuse_query", seen=refuses("XX000", phase="pagestream")),
    Situation(
        kind="refuse_query",
        more={"text": "unsupported command pagestream_v3"},
        seen=("nonsense", "pagestream", "XX000", "suspect"),
    ),
]

RESPONSE = [
    Situation(kind="close", phase="response", seen=DEAD),
    Situation(kind="reset", phase="response", seen=DEAD),
    Situation(kind="silent", phase="response", seen=SILENT),
    Situation(kind="half_message", more={"end": "silence"}, seen=SILENT),
    Situation(kind="half_message", more={"end": "fin"}, seen=DEAD),
    Situation(kind="reconnect", seen=refuses("08006", certainty="certain")),
    Situation(kind="shutdown", seen=refuses("57P01")),
    Situation(kind="timed_out", seen=("silent", "response", "08006", "suspect")),
    Situation(kind="not_found", seen=refuses("XX000", certainty="certain")),
    Situation(
        kind="error",
        more={"text": "Not found: Timeline 1/2 was not found"},
        seen=("wrong", "response", None, "certain"),
    ),
    Situation(
        kind="error",
        more={"text": "Not found: Tenant is broken: disk"},
        seen=("wrong", "response", None, "certain"),
    ),
    Situation(
        kind="error",
        more={"text": "Not found: Timed out waiting 5s for tenant active state"},
        seen=SILENT,
    ),
    Situation(kind="error", more={"text": "LSN timeout: Timed out"}, seen=SILENT),
    Situation(kind="bad_framing", seen=NONSENSE, error="08P01"),
    Situation(kind="wrong_echo", more={"field": "reqid"}, seen=NONSENSE, error="08P01"),
    Situation(kind="wrong_echo", more={"field": "request_lsn"}, seen=NONSENSE, error="08P01"),
    Situation(kind="wrong_tag", seen=NONSENSE, error="08P01"),
    Situation(kind="wrong_type", seen=NONSENSE, error="08P01"),
    Situation(kind="truncated", seen=NONSENSE, error="08P01"),
    Situation(kind="trailing", seen=NONSENSE, error="08P01"),
    Situation(kind="copy_done", seen=NONSENSE, error="08P01"),
    Situation(kind="copy_fail", seen=NONSENSE, error="08P01"),
]


WRONG_PLACE = ("wrong", "response", "08006", "certain")
TENANTS = {
    ("detached", "getpage"): WRONG_PLACE,
    ("detached", "nblocks"): refuses("XX000", certainty="certain"),
    ("secondary", "getpage"): WRONG_PLACE,
    ("secondary", "exists"): refuses("XX000", certainty="certain"),
    ("stopping", "getpage"): refuses("57P01"),
    ("stopping", "dbsize"): refuses("57P01"),
    ("broken", "getpage"): ("wrong", "response", None, "certain"),
    ("broken", "nblocks"): refuses("XX000", certainty="certain"),
    ("timeline_missing", "getpage"): ("wrong", "response", None, "certain"),
    ("timeline_missing", "nblocks"): refuses("XX000", certainty="certain"),
    ("attaching", "getpage"): SILENT,
    ("attaching", "nblocks"): SILENT,
}
