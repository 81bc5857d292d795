"""The world of one seed: puts the parts together, tells the story, and wants a happy end."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from contextvars import Context
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec

from compute_common.errors import ComputeError, RequestError
from devstack.storage_controller.faults import FaultBook
from devstack.storage_controller.model import new_tenant
from devstack.virtual_loop import START, VirtualLoop
from tests.simulation_control_plane import moves
from tests.simulation_control_plane.computes import Disk as ComputeDisk
from tests.simulation_control_plane.computes import SimCompute
from tests.simulation_control_plane.controllers import Database, SimController
from tests.simulation_control_plane.history import History, InvariantError
from tests.simulation_control_plane.pageservers import SimNode
from tests.simulation_control_plane.processes import Network, NetworkError, Process, task_factory
from tests.simulation_control_plane.service import ControlPlane
from tests.simulation_control_plane.store import Disk

EPOCH: Final = datetime(2030, 1, 1, tzinfo=UTC)
CONVERGE_S: Final = 200.0
"""After quiet: 60 s of blindness, 36 s to the next look, hooks that are tried again."""
STABLE_S: Final = 70.0
MAX_STEPS: Final = 1_000_000
SAFEKEEPERS: Final = range(1, 6)


class World:
    """One seed."""

    def __init__(self, seed: int, *, note: Callable[[str], None] | None = None) -> None:
        self.seed = seed
        self.rng = rng = random.Random(seed)
        self._note = note
        self.loop = VirtualLoop()
        self.network = Network(self.loop, rng)
        self.act = rng.random() < 0.75
        self.quorum = rng.choice([1, 2, 2, 2, 3])
        self.disk: Disk
        self.database = Database()
        self.faults = FaultBook()
        self.nodes: dict[int, SimNode] = {}
        self.node_of: dict[str, int] = {}
        """By endpoint, past ones too."""
        self.tenants: list[str] = []
        self.computes: dict[str, SimCompute] = {}
        self.leader: SimController
        self.old_leader: SimController | None = None
        self.died_at: dict[Process, float] = {}
        self.control: ControlPlane
        self.lives: dict[Process, ControlPlane] = {}
        self.kill_at_step: int | None = None
        self.history = History(self)
        self.safekeeper_ports = {number: 5454 + number for number in SAFEKEEPERS}
        self.wanted: dict[str, int] = {}
        """By compute: the value that its operator wants of a setting."""
        self._heartbeat_s = rng.choice([1.0, 5.0])
        self._failure: InvariantError | None = None
        self._number = 0
        self._tasks: set[asyncio.Task[Any]] = set()

    # Time

    def monotonic(self) -> float:
        """See `ports.Clock`."""
        return self.loop.now

    def wall(self) -> datetime:
        """See `ports.Clock`."""
        return EPOCH + timedelta(seconds=self.loop.now - START)

    def later(self, seconds: float, call: Callable[..., object]) -> None:
        """Call outside all processes, in *seconds*."""
        self.loop.call_later(seconds, call, context=Context())

    def note(self, text: str) -> None:
        """Tell whoever watches this run."""
        if self._note is not None:
            self._note(f"{self.loop.now - START:9.4f}  {text}")

    def fail(self, reason: str) -> None:
        """End the run: an invariant does not hold."""
        if self._failure is None:
            self._failure = InvariantError(reason)

    # The run

    def run(self) -> None:
        """Tell the story. Raises InvariantError."""
        loop = self.loop
        loop.set_task_factory(task_factory)
        loop.set_exception_handler(self._unhandled)
        loop.after_step = self._after_step
        try:
            loop.run_until_complete(self._story())
        finally:
            loop.after_step = lambda: None
            self._end(loop)

    def _end(self, loop: VirtualLoop) -> None:
        for _ in range(100):
            tasks = asyncio.all_tasks(loop)
            if not tasks:
                break
            for task in tasks:
                task.cancel()
            loop.call_later(0.001, loop.stop)
            loop.run_forever()
        loop.set_exception_handler(lambda _loop, _context: None)
        loop.close()

    def _unhandled(self, _loop: object, context: dict[str, Any]) -> None:
        text = f"unhandled: {context.get('message')}: {context.get('exception')!r}"
        self.note(text)

    def _after_step(self) -> None:
        self.history.look()
        if self._failure is not None:
            raise self._failure
        if self.loop.steps > MAX_STEPS:
            raise InvariantError("it never comes to rest")
        if self.kill_at_step is not None and self.loop.steps >= self.kill_at_step:
            self.kill_control()

    async def _story(self) -> None:
        self.disk = Disk(self.rng)
        self.leader = self._controller()
        for number in range(1, self.rng.randint(2, 6) + 1):
            self.start_node(number, self.new_host(number))
        self._start(self.leader)
        self.start_control()
        await asyncio.sleep(0.5)
        for number in SAFEKEEPERS:
            self.leader.safekeepers.register(number, f"sk-{number}")
        for _ in range(self.rng.randint(1, 4)):
            await self._tenant()
        await moves.play(self)
        await self._happy_end()

    async def _tenant(self) -> None:
        tenant_id = f"{self.rng.getrandbits(128):032x}"
        timeline_id = f"{self.rng.getrandbits(128):032x}"
        count = self.rng.choice([0, 0, 1, 2, 3])
        tenant = new_tenant(tenant_id, shard_count=count, secondaries=self.rng.choice([0, 1]))

        async def create() -> None:
            self.leader.controller.create_tenant(tenant)
            members = self.rng.sample(SAFEKEEPERS, 3)
            self.leader.safekeepers.create_timeline(tenant_id, timeline_id, members)
            self.history.meant(self.leader)

        await self.leader.spawn(create(), "create")
        self.tenants.append(tenant_id)
        for number in range(self.rng.randint(1, 3)):
            name = f"{tenant_id[:4]}-{number}"
            self.computes[name] = SimCompute(self, name, tenant_id, ComputeDisk())
            self.computes[name].timeline_id = timeline_id
            self.put(name)
            self._start(self.computes[name])

    # Parties

    def parties(self) -> list[str]:
        """Return the names of all that can be cut off."""
        controllers = [self.leader.name, *([self.old_leader.name] if self.old_leader else [])]
        nodes = [node.name for node in self.nodes.values()]
        return ["control plane", *controllers, *nodes, *self.computes]

    def _start(self, process: SimController | SimCompute) -> None:
        process.on_death = self.fail
        process.start()

    def _controller(self) -> SimController:
        self._number += 1
        return SimController(
            f"controller {self._number}",
            database=self.database,
            network=self.network,
            nodes=self.nodes,
            faults=self.faults,
            send=self._send_hook,
            on_move=self.history.meant,
            heartbeat_s=self._heartbeat_s,
            offline_after_s=10.0 if self._heartbeat_s < 5.0 else 30.0,
        )

    def restart_controller(self) -> None:
        """Kill the leader, and start another life of it."""
        self._kill(self.leader)
        self.leader = self._controller()
        self.history.meant(self.leader)
        self._start(self.leader)

    def second_controller(self) -> None:
        """Start another leader while the first goes on."""
        self.old_leader = self.leader
        self.leader = self._controller()
        self.history.meant(self.leader)
        self._start(self.leader)

    def end_old_leader(self) -> None:
        """Kill the one that is not the leader any more."""
        if self.old_leader is not None:
            self._kill(self.old_leader)
            self.old_leader = None

    def _kill(self, process: Process) -> None:
        process.kill()
        self.died_at[process] = self.loop.now

    def new_host(self, number: int) -> str:
        """Return a host name that was never used."""
        self._number += 1
        host = f"ps-{number}-{self._number}"
        self.node_of[f"{host}:6400"] = number
        return host

    def start_node(self, number: int, host: str) -> None:
        """Start a pageserver, which asks the controller what it is to hold."""
        if number in self.nodes and self.nodes[number].up:
            return
        node = self.nodes[number] = SimNode(number, host)
        _ = node.spawn(self._register(node), "register")

    async def _register(self, node: SimNode) -> None:
        while True:
            target = self.leader

            async def attach(target: SimController = target) -> list[dict[str, Any]]:
                await target.controller.register(node.describe())
                return target.controller.reattach(node.id)

            try:
                held = await self.network.call(node, target, attach, timeout_s=5.0)
            except NetworkError:
                await asyncio.sleep(0.5)
                continue
            node.locations = {
                it["id"]: {"mode": it["mode"], "generation": it["gen"]} for it in held
            }
            return

    def start_compute(self, name: str) -> None:
        """Start a compute with what is on its disk."""
        old = self.computes[name]
        if not old.up:
            new = self.computes[name] = SimCompute(self, name, old.tenant_id, old.disk)
            new.timeline_id = old.timeline_id
            self._start(new)

    def stop(self, process: Process) -> None:
        """Stop a process as by SIGSTOP, as far as requests to it go."""
        process.stopped = True
        process.continued.clear()

    def proceed(self, process: Process) -> None:
        """Let it go on."""
        process.stopped = False
        process.continued.set()

    def start_control(self) -> None:
        """Start the control plane."""
        self.control = ControlPlane(self)
        self.lives[self.control] = self.control
        self.control.on_death = self.fail
        self.control.loop_task(self.control.run(), "main")

    def kill_control(self) -> None:
        """Kill the control plane; it is started again."""
        self.kill_at_step = None
        if self.control.up:
            self.note("the control plane is killed")
            self._kill(self.control)
            self.later(self.rng.choice([0.01, self.rng.uniform(0.1, 20.0)]), self.start_control)

    async def _send_hook(self, owner: Process, hook: str, body: dict[str, Any]) -> int:
        target, sent_at = self.control, self.loop.now

        async def handle() -> int:
            try:
                code = (await target.hook(hook, body)).code
            except RequestError as error:
                code = error.code
            self.history.hook_answered(hook, body, code, sent_at=sent_at)
            return code

        return await self.network.call(owner, target, handle, timeout_s=30.0)

    # Operators

    def put(self, name: str, *, delete_first: bool = False) -> None:
        """Have an operator put a document, until it is stored."""
        self.wanted[name] = value = self.wanted.get(name, 0) + 1
        task = self.loop.create_task(self._put(name, value, delete_first), context=Context())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _put(self, name: str, value: int, delete_first: bool) -> None:
        compute = self.computes[name]
        settings = [{"name": "work_mem", "value": f"{value}MB", "vartype": "string"}]
        raw = msgspec.json.encode(
            {
                "spec": {
                    "cluster": {"settings": settings},
                    "tenant_id": compute.tenant_id,
                    "timeline_id": compute.timeline_id,
                    "safekeeper_connstrings": ["sk-0:5454"],
                }
            }
        )
        while self.wanted[name] == value:
            control = self.control
            if control.up and control.ready:
                if delete_first:
                    task = control.spawn(_quietly(control.registry.delete(name)), "delete")
                    await asyncio.wait({task})
                task2 = control.spawn(control.put(name, raw), "put")
                await asyncio.wait({task2})
                if not task2.cancelled() and task2.result():
                    return
            await asyncio.sleep(0.5)

    # The end

    async def _happy_end(self) -> None:
        """All faults end: every compute must come to run with what `locate` says, and stay."""
        self.note("--- quiet ---")
        self.kill_at_step = None
        self.network.mend_all()
        self.faults.clear()
        self.disk.fails = self.disk.slow_s = 0.0
        self.end_old_leader()
        for node in self.nodes.values():
            self.proceed(node)
            self.start_node(node.id, node.host)
        for name, compute in list(self.computes.items()):
            compute.lag_s = 0.0
            self.start_compute(name)
            self.put(name)
        self.restart_controller()
        await asyncio.sleep(1.0)
        moves.activate(self)
        end = self.loop.now + CONVERGE_S
        while missing := self._missing():
            if self.loop.now >= end:
                raise InvariantError(f"not well after {CONVERGE_S:.0f} s: {missing}")
            await asyncio.sleep(1.0)
        self.note("--- well ---")
        generations = {name: it.generation for name, it in self.computes.items()}
        await asyncio.sleep(STABLE_S)
        now = {name: it.generation for name, it in self.computes.items()}
        if missing := self._missing():
            raise InvariantError(f"it did not stay well: {missing}")
        if now != generations:
            raise InvariantError(f"documents change without a cause: {generations} -> {now}")

    def _missing(self) -> str:
        if not (self.control.up and self.control.ready):
            return "there is no control plane"
        if busy := self.leader.busy:
            return f"the controller is not done: {busy}"
        for name, compute in self.computes.items():
            if missing := self._lacks(name, compute):
                return missing
        return ""

    def _lacks(self, name: str, compute: SimCompute) -> str:
        meant = tuple(
            self.nodes[it].endpoint if it is not None else ""
            for it in self.leader.places(compute.tenant_id)
        )
        if compute.map != meant:
            return f"{name} runs with {compute.map}, locate says {meant}"
        timeline = self.leader.state.timelines[compute.tenant_id, compute.timeline_id]
        if timeline.generation > 1 and compute.safekeepers_generation != timeline.generation:
            return (
                f"{name} has safekeepers {compute.safekeepers_generation}, not"
                f" {timeline.generation}"
            )
        if compute.setting != f"{self.wanted[name]}MB":
            return f"{name} has work_mem {compute.setting}, not {self.wanted[name]}MB"
        return ""


async def _quietly(work: Any) -> None:
    try:
        await work
    except ComputeError:
        return
