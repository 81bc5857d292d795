"""What the controller knows and wants: nodes, tenants with their shards, timelines. Pure.

Intent (`attached`, `secondary`, `generation`) is stored; what a node was seen to hold (`observed`)
and the flags of a shard are not. Names, JSON and rules are the reference's (storage_controller).
"""

import enum
from dataclasses import asdict, dataclass, field
from typing import Any

DEFAULT_STRIPE_SIZE = 2048
"""Blocks of 8 KiB."""


class Availability(enum.Enum):
    """Whether a node answers."""

    ACTIVE = "Active"
    WARMING_UP = "WarmingUp"
    OFFLINE = "Offline"


class Scheduling(enum.Enum):
    """Whether a node may be given shards."""

    ACTIVE = "Active"
    FILLING = "Filling"
    PAUSE = "Pause"
    PAUSE_FOR_RESTART = "PauseForRestart"
    DRAINING = "Draining"
    DELETING = "Deleting"


@dataclass(kw_only=True)
class Node:
    """A pageserver."""

    id: int
    listen_http_addr: str
    listen_http_port: int
    listen_pg_addr: str
    listen_pg_port: int
    availability_zone_id: str = "az"
    scheduling: Scheduling = Scheduling.ACTIVE
    availability: Availability = Availability.ACTIVE

    @property
    def available(self) -> bool:
        """Whether calls to it make sense."""
        return self.availability is not Availability.OFFLINE

    @property
    def may_schedule(self) -> bool:
        """Whether it may be given shards."""
        active = self.availability is Availability.ACTIVE
        return active and self.scheduling in (Scheduling.ACTIVE, Scheduling.FILLING)

    def addresses(self) -> dict[str, Any]:
        """Where it listens, as `locate` and the list of nodes tell it."""
        return {
            "listen_http_addr": self.listen_http_addr,
            "listen_http_port": self.listen_http_port,
            "listen_https_port": None,
            "listen_pg_addr": self.listen_pg_addr,
            "listen_pg_port": self.listen_pg_port,
            "listen_grpc_addr": None,
            "listen_grpc_port": None,
        }

    def describe(self) -> dict[str, Any]:
        """The node as JSON."""
        return {
            "id": self.id,
            "availability": self.availability.value,
            "scheduling": self.scheduling.value,
            "availability_zone_id": self.availability_zone_id,
            **self.addresses(),
        }

    def row(self) -> dict[str, Any]:
        """What is stored of it."""
        return {**asdict(self), "scheduling": self.scheduling.value, "availability": None}


def node_from(row: dict[str, Any]) -> Node:
    """A stored node, whose availability nobody knows yet."""
    return Node(
        **{
            **row,
            "scheduling": Scheduling(row["scheduling"]),
            "availability": Availability.OFFLINE,
        }
    )


class Mode(enum.Enum):
    """What a pageserver does with a shard."""

    ATTACHED_SINGLE = "AttachedSingle"
    ATTACHED_MULTI = "AttachedMulti"
    ATTACHED_STALE = "AttachedStale"
    SECONDARY = "Secondary"
    DETACHED = "Detached"


@dataclass(frozen=True, kw_only=True)
class Location:
    """One shard on one pageserver; only an attached one has a generation."""

    mode: Mode
    generation: int | None = None

    @property
    def attached(self) -> bool:
        """Whether readers are answered."""
        return self.mode not in (Mode.SECONDARY, Mode.DETACHED)


@dataclass(kw_only=True)
class Shard:
    """One shard of a tenant. `observed[node]` None: unknown, because a call to the node failed."""

    tenant_id: str
    number: int
    count: int
    attached: int | None = None
    secondary: list[int] = field(default_factory=list)
    generation: int = 0
    observed: dict[int, Location | None] = field(default_factory=dict)
    pending_notification: bool = False
    reconciling: bool = False

    @property
    def id(self) -> str:
        """The tenant shard id."""
        return self.tenant_id + (f"-{self.number:02x}{self.count:02x}" if self.count else "")

    @property
    def wanted(self) -> Location:
        """What the attached node should hold."""
        return Location(mode=Mode.ATTACHED_SINGLE, generation=self.generation)

    @property
    def stably_attached(self) -> bool:
        """Whether the attached node was seen to hold what it should."""
        return self.attached is not None and self.observed.get(self.attached) == self.wanted

    def row(self) -> dict[str, Any]:
        """What is stored of it."""
        return {
            "attached": self.attached,
            "secondary": self.secondary,
            "generation": self.generation,
        }


@dataclass(kw_only=True)
class Timeline:
    """A timeline and its safekeepers; `new_members` None outside a joint configuration."""

    tenant_id: str
    timeline_id: str
    generation: int
    members: list[int]
    new_members: list[int] | None = None

    @property
    def union(self) -> list[int]:
        """All members of both configurations."""
        return sorted({*self.members, *(self.new_members or [])})


@dataclass(kw_only=True)
class Tenant:
    """A tenant. `shard_count` 0: unsharded. `secondaries`: warm copies wanted of each shard."""

    id: str
    shard_count: int
    stripe_size: int
    secondaries: int
    preferred_az: str | None
    shards: list[Shard]

    def row(self) -> dict[str, Any]:
        """What is stored of it but its shards."""
        return {
            "shard_count": self.shard_count,
            "stripe_size": self.stripe_size,
            "secondaries": self.secondaries,
            "preferred_az": self.preferred_az,
        }

    def locate(self, nodes: dict[int, Node]) -> dict[str, Any]:
        """Where the shards are meant to be. Raises ValueError where one is nowhere."""
        if any(shard.attached is None for shard in self.shards):
            raise ValueError("cannot locate a tenant that is not attached")
        return {
            "shards": [
                {
                    "shard_id": shard.id,
                    "node_id": shard.attached,
                    **nodes[shard.attached].addresses(),
                }
                for shard in self.shards
                if shard.attached is not None
            ],
            "shard_params": {"count": self.shard_count, "stripe_size": self.stripe_size},
        }

    def describe(self) -> dict[str, Any]:
        """The tenant as JSON."""
        return {
            "tenant_id": self.id,
            "shards": [
                {
                    "tenant_shard_id": shard.id,
                    "node_attached": shard.attached,
                    "node_secondary": shard.secondary,
                    "last_error": "",
                    "is_reconciling": shard.reconciling,
                    "is_pending_compute_notification": shard.pending_notification,
                    "is_splitting": False,
                    "is_importing": False,
                    "scheduling_policy": "Active",
                    "preferred_az_id": self.preferred_az,
                }
                for shard in self.shards
            ],
            "stripe_size": self.stripe_size,
            "policy": {"Attached": self.secondaries},
            "config": {},
        }


def new_tenant(
    tenant_id: str,
    *,
    shard_count: int = 0,
    stripe_size: int = DEFAULT_STRIPE_SIZE,
    secondaries: int = 0,
    preferred_az: str | None = None,
) -> Tenant:
    """A tenant whose shards are nowhere yet."""
    return Tenant(
        id=tenant_id,
        shard_count=shard_count,
        stripe_size=stripe_size,
        secondaries=secondaries,
        preferred_az=preferred_az,
        shards=[
            Shard(tenant_id=tenant_id, number=number, count=shard_count)
            for number in range(max(1, shard_count))
        ],
    )


@dataclass(kw_only=True)
class State:
    """All of it; safekeeper id -> host name."""

    nodes: dict[int, Node] = field(default_factory=dict)
    tenants: dict[str, Tenant] = field(default_factory=dict)
    safekeepers: dict[int, str | None] = field(default_factory=dict)
    timelines: dict[tuple[str, str], Timeline] = field(default_factory=dict)

    def shards(self) -> list[Shard]:
        """The shards of all tenants."""
        return [shard for tenant in self.tenants.values() for shard in tenant.shards]
