"""The world of one seed: puts the parts together, tells the story, and wants a happy end."""

from __future__ import annotations

import asyncio
from contextvars import Context
from typing import Any, Final

import msgspec

from compute_common.errors import ComputeError
from devstack.storage_controller.model import new_tenant
from tests.simulation_control_plane import moves
from tests.simulation_control_plane.computes import Disk as ComputeDisk
from tests.simulation_control_plane.computes import SimCompute
from tests.simulation_control_plane.history import InvariantError
from tests.simulation_control_plane.processes import task_factory
from tests.simulation_control_plane.store import Disk
from tests.simulation_control_plane.topology import SAFEKEEPERS, Topology

CONVERGE_S: Final = 200.0
"""After quiet: 60 s of blindness, 36 s to the next look, hooks that are tried again."""
STABLE_S: Final = 70.0
MAX_STEPS: Final = 1_000_000


class World(Topology):
    """One seed."""

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
            loop.end()

    def _unhandled(self, _loop: object, context: dict[str, Any]) -> None:
        text = f"unhandled: {context.get('message')}: {context.get('exception')!r}"
        self.note(text)

    def _after_step(self) -> None:
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
        async with self._operators[name]:  # who does one thing after the other
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
        self.lists.fails, self.lists.late_s = False, 0.0
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
