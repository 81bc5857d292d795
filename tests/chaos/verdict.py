"""What a session may see, and what it may not. Pure."""

from dataclasses import dataclass, field

SLACK_S = 8.0
"""What a machine under load may add to a bound."""
CRASH_S = 20.0
"""How long after a crash of the server's children it may still be starting up."""
CRASH_STATES = frozenset({"57P01", "57P02", "57P03", ""})
"""What a session sees of it; without a state: the connection was lost."""


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How one query ended. Times in seconds; `state` is "" where there was no SQLSTATE."""

    took: float
    bound: float
    timeout: float | None
    """The session's statement_timeout."""
    error: bool = False
    state: str = ""
    since_crash: float | None = None
    """Since the server's children were last made to crash; None: never."""


def hung(ended: Ended) -> bool:
    """Whether it took longer than it may."""
    return ended.took > ended.bound + SLACK_S


def expected(ended: Ended) -> bool:
    """Whether an error is one that a session may see."""
    if ended.state.startswith("08"):
        return True
    if ended.state == "57014":
        return ended.timeout is not None and ended.took >= ended.timeout * 0.9
    crashed = ended.since_crash is not None and ended.since_crash <= CRASH_S
    return crashed and ended.state in CRASH_STATES


@dataclass(kw_only=True)
class Tally:
    """What one session, or all, have seen."""

    queries: int = 0
    pages: int = 0
    wrong: int = 0
    hung: int = 0
    unexpected: int = 0
    errors: dict[str, int] = field(default_factory=dict)
    slowest: float = 0.0
    """Seconds of the query that came nearest to its bound, or passed it."""

    def add(self, other: "Tally") -> None:
        """Take in what another has seen."""
        for name in ("queries", "pages", "wrong", "hung", "unexpected"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for state, count in other.errors.items():
            self.errors[state] = self.errors.get(state, 0) + count
        self.slowest = max(self.slowest, other.slowest)
