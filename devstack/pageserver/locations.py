"""Which tenant shards a storage controller has put on this server, and in which mode. Pure.

A tenant shard is named `TENANT`, or `TENANT-NNCC` with number and count in hex. Modes and the rule
that a generation never falls are the reference's (pageserver/src/tenant/mgr.rs).
"""

import enum
import re
from dataclasses import dataclass
from typing import Any

from devstack.pageserver.sharding import DEFAULT_STRIPE_SIZE, Ownership
from devstack.pageserver.tenant import TenantState

_SHARD_ID = re.compile(r"([0-9a-f]{32})(?:-([0-9a-f]{2})([0-9a-f]{2}))?")


class Mode(enum.Enum):
    """What a server does with a shard. All attached modes answer readers."""

    ATTACHED_SINGLE = "AttachedSingle"
    ATTACHED_MULTI = "AttachedMulti"
    ATTACHED_STALE = "AttachedStale"
    SECONDARY = "Secondary"
    DETACHED = "Detached"

    @property
    def attached(self) -> bool:
        """Whether readers are answered."""
        return self in (Mode.ATTACHED_SINGLE, Mode.ATTACHED_MULTI, Mode.ATTACHED_STALE)


@dataclass(frozen=True, kw_only=True)
class Location:
    """One shard on this server; `stripe_size` is in blocks of 8 KiB."""

    tenant_id: str
    number: int
    count: int
    mode: Mode
    generation: int | None = None
    stripe_size: int = DEFAULT_STRIPE_SIZE

    @property
    def shard_id(self) -> str:
        """The name of the tenant shard."""
        suffix = f"-{self.number:02x}{self.count:02x}" if self.count else ""
        return self.tenant_id + suffix

    def describe(self) -> dict[str, Any]:
        """The location as JSON."""
        return {
            "mode": self.mode.value,
            "generation": self.generation,
            "secondary_conf": {"warm": True} if self.mode is Mode.SECONDARY else None,
            "shard_number": self.number,
            "shard_count": self.count,
            "shard_stripe_size": self.stripe_size,
            "tenant_conf": {},
        }


def parse_location(shard_id: str, body: dict[str, Any]) -> Location:
    """Read a location of the shard. Raises ValueError."""
    found = _SHARD_ID.fullmatch(shard_id)
    if found is None:
        raise ValueError(f'invalid tenant shard id "{shard_id}"')
    mode = Mode(body.get("mode"))
    generation, stripe = body.get("generation"), body.get("shard_stripe_size", DEFAULT_STRIPE_SIZE)
    if mode.attached and (type(generation) is not int or generation < 0):
        raise ValueError(f'invalid generation "{generation}" for mode {mode.value}')
    if type(stripe) is not int or stripe < 1:
        raise ValueError(f'invalid shard_stripe_size "{stripe}"')
    return Location(
        tenant_id=found[1],
        number=int(found[2] or "0", 16),
        count=int(found[3] or "0", 16),
        mode=mode,
        generation=generation if mode.attached else None,
        stripe_size=stripe,
    )


class Locations:
    """All shards that are not detached."""

    def __init__(self) -> None:
        self._held: dict[str, Location] = {}

    def put(self, location: Location) -> None:
        """Set the location of a shard. Raises ValueError where its generation would fall."""
        old = self.get(location.shard_id)
        known = old.generation if old is not None else None
        if location.generation is not None and known is not None and location.generation < known:
            raise ValueError(f"Generation {location.generation} is less than existing {known}")
        if location.mode is Mode.DETACHED:
            self._held.pop(location.shard_id, None)
        else:
            self._held[location.shard_id] = location

    def get(self, shard_id: str) -> Location | None:
        """The location of a shard; None where it is not here."""
        return self._held.get(shard_id)

    def describe(self) -> dict[str, Any]:
        """All of them as JSON."""
        return {"tenant_shards": [[name, held.describe()] for name, held in self._held.items()]}

    def serving(self, tenant_id: str) -> tuple[TenantState, Ownership]:
        """What follows for the readers of a tenant."""
        mine = [held for held in self._held.values() if held.tenant_id == tenant_id]
        attached = [held for held in mine if held.mode.attached]
        if attached:
            newest = max(attached, key=lambda held: held.count)
            ownership = Ownership(
                numbers=frozenset(held.number for held in attached if held.count == newest.count),
                count=newest.count,
                stripe_size=newest.stripe_size,
            )
            return TenantState.ACTIVE, ownership
        state = TenantState.SECONDARY if mine else TenantState.DETACHED
        return state, Ownership(numbers=frozenset())
