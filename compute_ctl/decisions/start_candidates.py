"""What to start Postgres with after a failed start. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from compute_ctl.decisions.model import Written


@dataclass(frozen=True, kw_only=True, slots=True)
class KeptRest:
    """A kept generation: the two parts of its file."""

    generation: int
    rest: str
    upstream: str
    refused: bool = False
    """Its document was refused."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """A file to start Postgres with."""

    generation: int
    """Whose rest it has."""
    body: str


def candidates(
    failed: Written, kept: Iterable[KeptRest], *, started: int | None
) -> tuple[Candidate, ...]:
    """Return what to try, in this order, after a start with *failed*; all differ.

    First the servers of *failed* with the rest of each earlier *kept* generation, the newest first,
    down to the one that was *started* last: that start succeeded, so older ones are not needed.
    Finally that one with its own servers.
    """
    found: list[Candidate] = []
    bodies = {failed.body}
    last: KeptRest | None = None
    for one in sorted(kept, key=lambda one: one.generation, reverse=True):
        if one.generation > failed.marker.generation or one.refused:
            continue
        if started is not None and one.generation < started:
            break
        if one.generation == started:
            last = one
        body = one.rest + failed.upstream
        if body not in bodies:
            bodies.add(body)
            found.append(Candidate(generation=one.generation, body=body))
    if last is not None and last.rest + last.upstream not in bodies:
        found.append(Candidate(generation=last.generation, body=last.rest + last.upstream))
    return tuple(found)
