"""Where shards should be. Pure: changes the intent of shards, and says what it has moved."""

from collections import Counter
from dataclasses import dataclass

from devstack.storage_controller.model import Node, Shard, State


@dataclass(frozen=True, kw_only=True)
class Move:
    """A shard whose attached node is to be another one."""

    shard: Shard
    origin: int | None
    destination: int


def place(state: State, shards: list[Shard], secondaries: int) -> list[Move]:
    """Give each shard that is nowhere, or on a node that is away, a node that may be scheduled.

    A warm copy is promoted first; else the node with the fewest shards. A shard for which there is
    no such node stays where it is.
    """
    load = _load(state)
    moves = []
    for shard in shards:
        if shard.attached is None or not state.nodes[shard.attached].available:
            move = _attach(state, shard, load)
            if move is not None:
                moves.append(move)
        _choose_secondaries(state, shard, secondaries, load)
    return moves


def leave(state: State, node_id: int) -> list[Move]:
    """Move the shards of a node elsewhere where that can be: it is offline."""
    moves = []
    for tenant in state.tenants.values():
        concerned = [s for s in tenant.shards if node_id in (s.attached, *s.secondary)]
        moves += place(state, concerned, tenant.secondaries)
    return moves


def move_to(state: State, shard: Shard, destination: int, secondaries: int) -> Move | None:
    """Attach a shard to a node, as an operator orders it; None where it is there already."""
    origin = shard.attached
    if origin == destination:
        return None
    _switch(shard, destination)
    _choose_secondaries(state, shard, secondaries, _load(state))
    return Move(shard=shard, origin=origin, destination=destination)


def drain_target(state: State, shard: Shard) -> int | None:
    """Where a shard of a node that is drained goes; None where nobody may take it."""
    return _best(state, shard, _load(state), without={shard.attached})


def _load(state: State) -> Counter[int]:
    return Counter(shard.attached for shard in state.shards() if shard.attached is not None)


def _attach(state: State, shard: Shard, load: Counter[int]) -> Move | None:
    origin = shard.attached
    destination = _best(state, shard, load, without={origin})
    if destination is None:
        return None
    _switch(shard, destination)
    load[destination] += 1
    if origin is not None:
        load[origin] -= 1
    return Move(shard=shard, origin=origin, destination=destination)


def _switch(shard: Shard, destination: int) -> None:
    """Attach there; the old node becomes the first choice for a warm copy."""
    kept = [node for node in shard.secondary if node != destination]
    shard.secondary = ([] if shard.attached is None else [shard.attached]) + kept
    shard.attached = destination


def _best(state: State, shard: Shard, load: Counter[int], without: set[int | None]) -> int | None:
    candidates = [
        node for node in state.nodes.values() if node.may_schedule and node.id not in without
    ]
    siblings = Counter(other.attached for other in state.tenants[shard.tenant_id].shards)

    def cost(node: Node) -> tuple[bool, int, int, int]:
        cold = node.id not in shard.secondary
        return (cold, siblings[node.id], load[node.id], node.id)

    return min(candidates, key=cost).id if candidates else None


def _choose_secondaries(state: State, shard: Shard, wanted: int, load: Counter[int]) -> None:
    """Keep warm copies on nodes that answer, then on those that are away, then choose new ones."""
    nodes = state.nodes
    kept = sorted(shard.secondary, key=lambda node: not nodes[node].available)[:wanted]
    others = sorted(
        (n for n in nodes.values() if n.may_schedule and n.id not in (shard.attached, *kept)),
        key=lambda node: (load[node.id], node.id),
    )
    shard.secondary = kept + [node.id for node in others[: wanted - len(kept)]]
