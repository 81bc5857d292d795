"""What runs in the world of one seed, and how it is started, stopped and killed."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import Callable
from contextvars import Context
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from compute_common.errors import RequestError
from devstack.storage_controller.faults import FaultBook
from devstack.virtual_loop import START, VirtualLoop
from tests.simulation_control_plane.computes import SimCompute
from tests.simulation_control_plane.controllers import Database, ListTrouble, SimController
from tests.simulation_control_plane.history import History, InvariantError
from tests.simulation_control_plane.pageservers import SimNode
from tests.simulation_control_plane.processes import Network, NetworkError, Process
from tests.simulation_control_plane.service import ControlPlane
from tests.simulation_control_plane.store import Disk

EPOCH: Final = datetime(2030, 1, 1, tzinfo=UTC)
SAFEKEEPERS: Final = range(1, 6)


class Topology:
    """All parties, the network between them and their clock."""

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
        self.lists = ListTrouble()
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
        self.clock_s = 0.0
        """By how much the wall clock was set."""
        self.safekeeper_ports = {number: 5454 + number for number in SAFEKEEPERS}
        self.wanted: dict[str, int] = {}
        """By compute: the value that its operator wants of a setting."""
        self._operators: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        """By compute."""
        self._heartbeat_s = rng.choice([2.0, 5.0, 5.0])
        self._failure: InvariantError | None = None
        self._number = 0
        self._tasks: set[asyncio.Task[Any]] = set()

    # Time

    def monotonic(self) -> float:
        """See `ports.Clock`."""
        return self.loop.now

    def wall(self) -> datetime:
        """See `ports.Clock`."""
        return EPOCH + timedelta(seconds=self.clock_s + self.loop.now - START)

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
            on_node=self.history.look,
            heartbeat_s=self._heartbeat_s,
            offline_after_s=10.0 if self._heartbeat_s < 5.0 else 30.0,
        )

    def restart_controller(self) -> None:
        """Kill the leader, and start another life of it."""
        self._kill(self.leader)
        self.leader = self._controller()
        self.history.meant(self.leader)
        self.history.look()
        self._start(self.leader)

    def second_controller(self) -> None:
        """Start another leader while the first goes on."""
        self.old_leader = self.leader
        self.leader = self._controller()
        self.history.meant(self.leader)
        self.history.look()
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
