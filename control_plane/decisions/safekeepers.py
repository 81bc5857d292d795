"""The safekeepers of a timeline, which never go backwards. Pure."""

from __future__ import annotations

from compute_common.errors import RequestError
from control_plane.decisions.model import SafekeeperSet


def merge(old: SafekeeperSet | None, new: SafekeeperSet) -> SafekeeperSet | None:
    """Return what is known after *new* was told, None where that changes nothing.

    What is older than *old* changes nothing. Only the ids count: host names are for people.

    Raises:
        RequestError: 409, the same generation was told with other safekeepers.
    """
    if old is None or new.generation > old.generation:
        return new
    known = sorted(keeper.id for keeper in old.safekeepers)
    told = sorted(keeper.id for keeper in new.safekeepers)
    if new.generation == old.generation and told != known:
        raise RequestError(
            409,
            f"safekeepers: generation {new.generation} is known with safekeepers"
            f" {_listed(known)}, not {_listed(told)}",
        )
    return None


def _listed(ids: list[int]) -> str:
    return ", ".join(map(str, ids))
