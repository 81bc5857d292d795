"""What a shard still needs so that its pageservers hold what is intended. Pure."""

from devstack.storage_controller.model import Location, Mode, Node, Shard

SECONDARY = Location(mode=Mode.SECONDARY)
DETACHED = Location(mode=Mode.DETACHED)


def migration_origin(shard: Shard, nodes: dict[int, Node]) -> int | None:
    """The node from which the shard must be migrated live; None where it can just be attached.

    That is another node that answers and holds it attached. One that is offline is not asked.
    """
    if shard.stably_attached:
        return None
    for node_id, location in shard.observed.items():
        held = location is not None and location.mode is Mode.ATTACHED_SINGLE
        if held and node_id != shard.attached and nodes[node_id].available:
            return node_id
    return None


def changes(shard: Shard, nodes: dict[int, Node]) -> list[tuple[int, Location]]:
    """The warm copies to make and the locations to give up, on nodes that answer."""
    wanted = dict.fromkeys(shard.secondary, SECONDARY)
    extra = set(shard.observed) - set(wanted) - {shard.attached}
    wanted |= dict.fromkeys(extra, DETACHED)
    return [
        (node_id, location)
        for node_id, location in wanted.items()
        if shard.observed.get(node_id) != location and nodes[node_id].available
    ]


def differs(shard: Shard, nodes: dict[int, Node]) -> bool:
    """Whether there is anything to do, or anybody to tell."""
    reachable = shard.attached is not None and nodes[shard.attached].available
    unattached = reachable and not shard.stably_attached
    return shard.pending_notification or unattached or bool(changes(shard, nodes))
