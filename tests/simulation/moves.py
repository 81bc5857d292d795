"""What may happen to the compute, in an order that the seed decides."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from compute_common.errors import ComputeError
from compute_ctl.decisions.model import AckAnswer, AckMessage, RequestOrigin, Suspicion
from tests.simulation.disk import CONF, STATE
from tests.simulation.documents import OMISSIONS, Kind, url
from tests.simulation.rules import SESSION_LIBRARIES

if TYPE_CHECKING:
    from tests.simulation.daemon import SimDaemon
    from tests.simulation.world import World


YEAR_S: Final = 365 * 86400.0


async def play(world: World) -> None:
    """Let things happen for a minute or two."""
    rng = world.rng
    end = world.loop.now + rng.uniform(10.0, 120.0)
    pause = rng.choice([0.3, 2.0, 8.0])
    # Each story has its own troubles: all of them at once would hide what only some bring.
    chosen = rng.sample(list(MOVES), rng.randint(3, len(MOVES)))
    if {lose_state, edit, disk} & set(chosen):  # with these the compute may forget whose it is
        unknown = OMISSIONS | {Kind.OTHER_TENANT}
        world.kinds = [kind for kind in world.kinds if kind not in unknown]
    world.forces = rng.random() < 0.5
    if world.forces:  # that is how an operator takes servers away
        world.kinds = [kind for kind in world.kinds if kind not in OMISSIONS]
    world.calm = network not in chosen
    await asyncio.sleep(rng.uniform(0.0, 5.0))
    while world.loop.now < end:
        move = rng.choice(chosen)
        world.note(f"* {move.__name__}")
        move(world)
        await asyncio.sleep(rng.expovariate(1 / pause))


def _for_a_while(world: World, undo: Callable[[], None]) -> None:
    world.later(world.rng.uniform(0.05, 25.0), undo)


def relocate(world: World) -> None:
    """The pages move; the control plane knows at once, late, or did before."""
    place = world.place + 1
    late = world.rng.choice([0.0, world.rng.uniform(0.0, 5.0)])
    world.place = place
    world.worker_looks.set()
    world.later(late, _publish, world, place)


def _publish(world: World, place: int) -> None:
    if not world.quiet:
        world.control.publish(world.writer.write(place))


def publish(world: World) -> None:
    """Publish a document, perhaps a wrong one."""
    kind = world.choose_kind()
    behind = world.rng.choice([0, 0, 0, 2])
    world.note(f"  {kind} behind by {behind}")
    world.control.publish(world.writer.write(world.place, kind, behind=behind))


def push(world: World) -> None:
    """Push a document; what is published may be older now."""
    kind = world.choose_kind()
    raw = world.writer.write(world.place, kind, behind=world.rng.choice([0, 0, 2]))
    world.note(f"  {kind}")
    for late in world.rng.choice([[0.0], [0.0], [0.0, 0.0], [0.0, 3.0], [3.0]]):
        world.later(world.rng.uniform(0.0, late), _pushed, world, raw)


def _pushed(world: World, raw: bytes) -> None:
    """A push comes through: late, so that another overtakes it, or for a second time."""
    daemon = world.daemon
    if daemon is not None and daemon.serving and not world.quiet:
        _ = daemon.spawn(_push(world, daemon, raw), "push")


async def _push(world: World, daemon: SimDaemon, raw: bytes) -> None:
    world.invariants.allow(1)
    with suppress(ComputeError):
        await daemon.node.pushes.configure(raw, who="a test")


def ask(world: World) -> None:
    """Ask as an operator does, perhaps for one refresh by force, perhaps in haste."""
    for _ in range(world.rng.choice([1, 1, 5])):
        daemon = world.daemon
        if daemon is None or not daemon.serving:
            return
        world.invariants.allow(1)
        force = world.forces and world.rng.random() < 0.3
        if force:
            world.invariants.forced()
        with suppress(ComputeError):
            daemon.node.request_refresh(who="operator", source=RequestOrigin.OPERATOR, force=force)


def terminate(world: World) -> None:
    """An operator ends the compute; whoever keeps the processes starts them again."""
    daemon = world.daemon
    if daemon is not None and daemon.serving and daemon.restored:
        mode = world.rng.choice(["fast", "fast", "immediate"])
        with suppress(ComputeError):
            daemon.node.terminate(mode, who="operator")


def interrupt(world: World) -> None:
    """Somebody comes at the moment at which the daemon stops waiting for something."""
    action = world.rng.choice([push_once, push_once, terminate, ask])
    world.note(f"  {action.__name__}")
    world.interruptions.plan_any(action)


def push_once(world: World) -> None:
    """Push one document, unless the story is over."""
    if not world.quiet:
        _pushed(world, world.writer.write(world.place, world.choose_kind()))


def report_late(world: World) -> None:
    """Postgres goes on complaining of servers that are well by now, or are named no more."""
    source = world.rng.choice(["pageserver", "safekeeper", "primary"])
    for _ in range(world.rng.choice([1, 3, 10])):
        world.later(world.rng.uniform(0.0, 30.0), _reported, world, source)


def _reported(world: World, source: str) -> None:
    daemon = world.daemon
    if daemon is None or not daemon.serving or world.quiet or not world.postgres.ready:
        return
    suspicion = Suspicion(source=source, trouble=world.rng.choice(["dead", "wrong", "silent"]))
    with suppress(ComputeError):
        daemon.node.request_refresh(
            who="postgres", source=RequestOrigin.WORKER, suspicion=suspicion
        )


def crash(world: World) -> None:
    """Kill the daemon: now, some steps on, or at a primitive of the disk."""
    how = world.rng.random()
    if how < 0.2:
        world.crash(finish_call=world.rng.random() < 0.5)
    elif how < 0.6:
        world.crash_at_step = world.loop.steps + world.rng.randint(1, 200)
    else:
        world.disk.crash_in = world.rng.randint(0, 25)


def lose_power(world: World) -> None:
    """Everything on the machine ends at once."""
    world.crash(finish_call=world.rng.random() < 0.5)
    world.postgres.stop()
    world.disk.lose_power(world.rng)
    world.invariants.power_lost()


def restart_postgres(world: World) -> None:
    """Stop the server, for a moment or longer."""
    world.postgres.stop()
    if world.rng.random() < 0.5 and not world.supervised:
        world.postgres.start()
    else:
        world.postgres_wanted = False
        _for_a_while(world, lambda: setattr(world, "postgres_wanted", True))


def sighup(world: World) -> None:
    """Somebody else reloads the server."""
    world.postgres.reload()


def network(world: World) -> None:
    """The way to the control plane, or the control plane, has a fault."""
    name, amount = world.rng.choice(
        [("loss", 0.5), ("loss", 1.0), ("latency", 0.4), ("latency", 4.0), ("turned_away", 0.5),
         ("nonsense", 0.4), ("stale", 0.5), ("empty", 0.4), ("empty", 1.0)]
    )  # fmt: skip
    _fault(world, name, amount)


def loopback(world: World) -> None:
    """What the worker sends gets lost, arrives late and out of order, or twice."""
    name, amount = world.rng.choice(
        [("acks_lost", True), ("ack_loss", 0.7), ("request_loss", 0.8), ("overtaken", 0.5),
         ("doubled", 0.5)]
    )  # fmt: skip
    _fault(world, name, amount)


def _fault(world: World, name: str, amount: float) -> None:
    world.note(f"  {name} {amount}")
    before = type(world.faults)()
    setattr(world.faults, name, amount)
    _for_a_while(world, lambda: setattr(world.faults, name, getattr(before, name)))


def sql(world: World) -> None:
    """No answer over SQL."""
    _fault(world, "sql_hangs", True)


def disk(world: World) -> None:
    """The disk fills up, or answers late."""
    if world.rng.random() < 0.6:
        world.disk.full = True
        _for_a_while(world, lambda: setattr(world.disk, "full", False))
    else:
        _fault(world, "slow_disk", True)


def edit(world: World) -> None:
    """Somebody edits the live file, or removes it."""
    world.invariants.starts.helped()
    text = world.disk.files.get(CONF)
    if text is None or world.rng.random() < 0.3:
        world.disk.put(CONF, None)
        return
    edited = world.rng.choice([f"# mine\n{text}", text[: len(text) // 2], ""])
    world.invariants.foreign.add(edited)
    world.disk.put(CONF, edited)


def override(world: World) -> None:
    """Somebody uses ALTER SYSTEM, and takes it back."""
    name, value = world.rng.choice(
        [
            ("work_mem", "77MB"),
            ("neon.pageserver_connstring", url("elsewhere")),
            (SESSION_LIBRARIES, "nolib"),
        ]
    )
    world.postgres.overrides[name] = value
    if world.rng.random() < 0.8:
        world.postgres.reload()

    def undo() -> None:
        world.postgres.overrides.pop(name, None)
        if world.rng.random() < 0.8:
            world.postgres.reload()

    _for_a_while(world, undo)


def typo(world: World) -> None:
    """The operator's own configuration file cannot be read for a while."""
    world.postgres.typo_elsewhere = True
    _for_a_while(world, lambda: setattr(world.postgres, "typo_elsewhere", False))


def clock(world: World) -> None:
    """Somebody sets the clock."""
    world.clocks_set += 1
    world.wall_offset += world.rng.choice([-YEAR_S, -3600.0, -5.0, 5.0, 3600.0, YEAR_S])


def forge(world: World) -> None:
    """Somebody who does not know the marker acknowledges it."""
    daemon = world.daemon
    if daemon is None or not daemon.serving:
        return
    forged = f"1.{world.rng.getrandbits(128):032x}.{'0' * 64}"
    message = AckMessage(marker=forged, map_sha256="0" * 64, shard_count=1)
    if daemon.node.acknowledge(message) is not AckAnswer.UNKNOWN:
        world.fail("a forged acknowledgement was believed")


def lose_state(world: World) -> None:
    """The state file is damaged while the daemon is down."""
    world.crash()
    world.disk.put(STATE, "{")
    world.invariants.highest = None  # the floor is lost with it


def detach(world: World) -> None:
    """The control plane gives this compute up, and later takes it back."""
    world.control.publish(None)
    place = world.place
    _for_a_while(world, lambda: _publish(world, place))


MOVES: Final = (
    relocate, publish, push, ask, crash, lose_power, restart_postgres, sighup, network, loopback,
    sql, disk, edit, override, typo, clock, forge, lose_state, detach, terminate, interrupt,
    report_late,
)  # fmt: skip
