"""Which other pageserver of a document is used where Postgres complains of the one in use. Pure.

One that Postgres has complained of rests: so two that both fail are not written in turns, while
the source is asked as always.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from compute_ctl.document.candidates import Candidates

REST_S: Final = 10.0
"""After Postgres was sent away from a pageserver, before it is sent there again."""


class ShardCandidates(Struct, frozen=True, kw_only=True):
    """The pageservers of a shard as they are shown, ``host:port``."""

    shard: int
    in_use: str
    others: tuple[str, ...]
    """In the order in which they are tried where that one fails."""


def replacements(
    candidates: Candidates,
    suspected: frozenset[int],
    left_at: Mapping[tuple[int, str], float],
    *,
    now: float,
) -> dict[int, str]:
    """Return the connection strings to use instead, by shard.

    *suspected*: the shards of whose pageserver Postgres complains. *left_at*: when each pageserver
    of a shard was last left, in the monotonic seconds of *now*.
    """
    found = {}
    for number in suspected:
        if number < len(candidates.named):
            rested = (
                one
                for one in candidates.others(number)
                if now - left_at.get((number, one), -REST_S) >= REST_S
            )
            if (other := next(rested, None)) is not None:
                found[number] = other
    return found
