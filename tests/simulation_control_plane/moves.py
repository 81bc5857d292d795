"""What may happen, in an order that the seed decides."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final

from control_plane.fleet.mirror import TENANTS
from devstack.storage_controller.errors import RefusedError
from devstack.storage_controller.faults import HOOKS, Fault
from devstack.storage_controller.model import Scheduling

if TYPE_CHECKING:
    from tests.simulation_control_plane.processes import Process
    from tests.simulation_control_plane.world import World


MOST_NODES: Final = 8


async def play(world: World) -> None:
    """Let things happen for a minute or two."""
    rng = world.rng
    end = world.loop.now + rng.uniform(20.0, 150.0)
    pause = rng.choice([1.0, 4.0, 12.0])
    # Each story has its own troubles: all of them at once would hide what only some bring.
    chosen = rng.sample(list(MOVES), rng.randint(2, 9))
    if rng.random() < 0.6:  # what all is for
        chosen += [rng.choice([kill_node, kill_node, stop_node, kill_machine])] * 2
    await asyncio.sleep(rng.uniform(0.5, 10.0))
    while world.loop.now < end:
        move = rng.choice(chosen)
        world.note(f"* {move.__name__}")
        move(world)
        await asyncio.sleep(rng.expovariate(1 / pause))


def _for_a_while(world: World, undo: Callable[[], object], most: float = 40.0) -> None:
    world.later(
        world.rng.choice([world.rng.uniform(0.05, 3.0), world.rng.uniform(0.5, most)]), undo
    )


def migrate(world: World, node_id: int | None = None) -> None:
    """An operator moves a shard."""
    controller, tenant_id = world.leader, world.rng.choice(world.tenants)
    tenant = controller.state.tenants[tenant_id]
    number = world.rng.randrange(len(tenant.shards))
    target = node_id or world.rng.choice(list(world.nodes))

    async def order() -> None:
        try:
            _ = controller.controller.migrate(tenant_id, number, target)
        except RefusedError:
            return

    _ = controller.spawn(order(), "order")


def add_node(world: World) -> None:
    """New pageservers take a shard at once, while the list of nodes is late or cannot be read."""
    for delay in (0.0, world.rng.uniform(0.05, 1.0)):
        world.later(delay, partial(_start_node, world))
    if world.rng.random() < 0.5:
        world.lists.fails = True
        _for_a_while(world, lambda: setattr(world.lists, "fails", False), most=15.0)
    else:
        world.lists.late_s = world.rng.choice([0.1, 1.0, 1.8])
        _for_a_while(world, lambda: setattr(world.lists, "late_s", 0.0))


def _start_node(world: World) -> None:
    if len(world.nodes) < MOST_NODES:
        number = max(world.nodes) + 1
        world.start_node(number, world.new_host(number))
        world.later(world.rng.uniform(0.05, 1.0), partial(_move_to, world, number))


def _move_to(world: World, node_id: int) -> None:
    if node_id in world.leader.state.nodes:
        migrate(world, node_id)


def drain(world: World) -> None:
    """An operator drains a node; meanwhile nodes cannot be configured."""
    controller, node_id = world.leader, world.rng.choice(list(world.nodes))
    pause = world.rng.choice([0.0, 1.0, 8.0])

    async def order() -> None:
        try:
            controller.operations.drain(node_id, pause_seconds=pause)
        except RefusedError:
            return

    _ = controller.spawn(order(), "drain")


def activate(world: World) -> None:
    """An operator lets every node take shards again."""
    for node in world.leader.state.nodes.values():
        if world.leader.controller.operation is None:
            world.leader.controller.set_scheduling(node, Scheduling.ACTIVE)


def change_safekeepers(world: World) -> None:
    """A timeline moves to other safekeepers."""
    if world.old_leader is None:
        key = world.rng.choice(list(world.leader.state.timelines))
        members = world.rng.sample(sorted(world.leader.state.safekeepers), 3)
        world.leader.change(*key, members)


def hook_fault(world: World) -> None:
    """Hooks get lost, are doubled, late or overtaken."""
    kind = world.rng.choice(["lost", "doubled", "late", "reordered"])
    fault = Fault(
        kind=kind,
        count=world.rng.choice([1, 3]),
        delay_ms=world.rng.choice([10, 500, 5_000, 30_000]),
        hook=world.rng.choice([None, *HOOKS]),
    )
    world.note(f"  {kind} {fault.delay_ms}")
    world.faults.add(fault)


def partition(world: World) -> None:
    """Two parties are cut off from each other, or one from all."""
    parties = world.parties()
    one = world.rng.choice([*parties, "control plane", world.leader.name])
    others = [it for it in parties if it != one]
    if world.rng.random() < 0.7:
        others = [world.rng.choice(others)]
    world.note(f"  {one} | {', '.join(others)}")
    for other in others:
        world.network.cut(one, other)
    for other in others:
        _for_a_while(world, partial(world.network.mend, one, other))


def kill_node(world: World) -> None:
    """A pageserver dies, and comes back at once, later or in the end."""
    node_id = world.rng.choice(list(world.nodes))
    world.note(f"  node {node_id}")
    world.nodes[node_id].kill()
    host = world.nodes[node_id].host
    if world.rng.random() < 0.2:
        host = world.new_host(node_id)
    _for_a_while(world, lambda: world.start_node(node_id, host), most=90.0)


def kill_machine(world: World) -> None:
    """A pageserver dies with the control plane, which is soon there again."""
    kill_node(world)
    world.kill_control()


def stop_node(world: World) -> None:
    """A pageserver is stopped, or slow, for a while."""
    node = world.rng.choice(list(world.nodes.values()))
    world.note(f"  {node.name}")
    if world.rng.random() < 0.6:
        _stop(world, node)
    else:
        world.network.slow[node.name] = world.rng.choice([0.2, 0.5, 2.0])
        _for_a_while(world, lambda: world.network.slow.pop(node.name, None))


def _stop(world: World, process: Process) -> None:
    world.stop(process)
    _for_a_while(world, lambda: world.proceed(process))


def kill_compute(world: World) -> None:
    """A compute dies, and comes back with what is on its disk."""
    name = world.rng.choice(list(world.computes))
    world.note(f"  {name}")
    world.computes[name].kill()
    _for_a_while(world, lambda: world.start_compute(name), most=90.0)


def lag(world: World) -> None:
    """Postgres takes long to apply anything."""
    compute = world.rng.choice(list(world.computes.values()))
    compute.lag_s = world.rng.choice([0.5, 3.0, 12.0])
    _for_a_while(world, lambda: setattr(compute, "lag_s", 0.0))


def kill_control_plane(world: World) -> None:
    """The control plane dies: now, or some steps on, in the midst of something."""
    if world.rng.random() < 0.3:
        world.kill_control()
    else:
        world.kill_at_step = world.loop.steps + world.rng.randint(1, 400)


def restore_backup(world: World) -> None:
    """The control plane dies, and its store is that of some time ago."""
    if len(world.disk.commits) > 20:
        world.kill_control()
        world.disk.restore(world.rng.randint(10, len(world.disk.commits)))
        world.history.restored()


def lose_store(world: World) -> None:
    """The store is lost, or older than any tenant's place; operators put everything again.

    Often the storage controller cannot be asked at first: computes report before there is a place.
    """
    world.kill_control()
    commits = world.disk.commits
    placed = (it.revision for it in commits if any(e.key.startswith(TENANTS) for e in it.entries))
    world.disk.restore(world.rng.randrange(next(placed, len(commits) + 1)))
    world.history.restored()
    if world.rng.random() < 0.7:
        world.network.cut("control plane", world.leader.name)
        _for_a_while(world, partial(world.network.mend, "control plane", world.leader.name))
    for name in world.computes:
        world.put(name)


def set_clock_back(world: World) -> None:
    """The clock of all computers is set back."""
    world.clock_s -= world.rng.choice([1.0, 70.0, 86_400.0])


def stop_control_plane(world: World) -> None:
    """The control plane is cut off from everybody, or only from its store, for a while."""
    if world.rng.random() < 0.5:
        for other in world.parties():
            world.network.cut("control plane", other)
            _for_a_while(world, partial(world.network.mend, "control plane", other))
    else:
        store_fails(world)


def store_fails(world: World) -> None:
    """The store refuses, sometimes after it has written; or it is slow."""
    if world.rng.random() < 0.7:
        world.disk.fails = world.rng.choice([0.1, 0.5, 1.0])
        _for_a_while(world, lambda: setattr(world.disk, "fails", 0.0), most=15.0)
    else:
        world.disk.slow_s = world.rng.choice([0.1, 1.0])
        _for_a_while(world, lambda: setattr(world.disk, "slow_s", 0.0), most=15.0)


def restart_controller(world: World) -> None:
    """The storage controller dies, and starts anew."""
    world.restart_controller()


def second_controller(world: World) -> None:
    """A second one takes over while the first goes on, as after a partition."""
    if world.old_leader is None:
        world.second_controller()
        _for_a_while(world, world.end_old_leader)


def operate(world: World) -> None:
    """An operator puts a document, or deletes a compute and puts it again."""
    name = world.rng.choice(list(world.computes))
    world.put(name, delete_first=world.rng.random() < 0.2)


MOVES: Final = (
    migrate, migrate, add_node, drain, activate, change_safekeepers, hook_fault, partition,
    partition, kill_node, kill_machine, stop_node, kill_compute, lag, kill_control_plane,
    restore_backup, lose_store, set_clock_back, stop_control_plane, store_fails, restart_controller,
    second_controller, operate,
)  # fmt: skip
"""What the story is made of."""
