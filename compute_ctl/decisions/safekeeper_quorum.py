"""Whether the safekeepers agree already where the log of a primary ends. Pure.

The rule is Neon's: a quorum answers, and all of it has flushed and committed up to one position.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

_LSN: Final = re.compile(r"[0-9A-Fa-f]{1,8}/[0-9A-Fa-f]{1,8}")
_PREFIX: Final = re.compile(r"g#[0-9]+:")


@dataclass(frozen=True, kw_only=True, slots=True)
class TimelineStatus:
    """What a safekeeper says of a timeline."""

    flush_lsn: str
    commit_lsn: str


def addresses(safekeepers: str) -> tuple[str, ...]:
    """Return the ``host:port`` of each one in a value of ``neon.safekeepers``."""
    return tuple(one for one in _PREFIX.sub("", safekeepers, count=1).split(",") if one)


def quorum(count: int) -> int:
    """Return how many of *count* safekeepers decide."""
    return count // 2 + 1


def agreed_position(answers: Sequence[TimelineStatus | None], count: int) -> str | None:
    """Return where the first quorum of *answers* says the log ends; None where it does not agree.

    *answers*: in the order in which they came, of *count* safekeepers; None for one that does not
    know the timeline. A log that is empty has no end.
    """
    deciding = answers[: quorum(count)]
    if len(deciding) < quorum(count):
        return None
    found = {position for one in deciding for position in _positions(one)}
    (end,) = found if len(found) == 1 else (None,)
    return end if end is not None and end != "0/0" else None


def _positions(answer: TimelineStatus | None) -> tuple[str | None, ...]:
    if answer is None:
        return (None,)
    return tuple(
        one.upper() if _LSN.fullmatch(one) else None
        for one in (answer.flush_lsn, answer.commit_lsn)
    )
