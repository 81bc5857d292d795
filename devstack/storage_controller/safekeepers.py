"""Safekeepers of timelines: a change goes through a joint configuration, each with a generation.

The control plane is told of the joint configuration before the safekeepers are, and of the final
one after them (safekeeper_service.rs). There are no safekeepers here, so only the telling is left.
"""

import asyncio

from devstack.storage_controller import hook_rules
from devstack.storage_controller.compute_hook import ComputeHook
from devstack.storage_controller.errors import ConflictError, NotFoundError
from devstack.storage_controller.events import Events, log_death
from devstack.storage_controller.hook_rules import Result
from devstack.storage_controller.model import State, Timeline
from devstack.storage_controller.state_file import StateFile


class Safekeepers:
    """Their registry and their memberships. `scale` multiplies pauses."""

    def __init__(
        self, state: State, file: StateFile, hook: ComputeHook, events: Events, *, scale: float
    ) -> None:
        self._state = state
        self._file = file
        self._hook = hook
        self._events = events
        self._scale = scale
        self._tasks: dict[tuple[str, str], asyncio.Task[None]] = {}

    def register(self, number: int, hostname: str | None) -> None:
        """Take a safekeeper, or its new host name."""
        self._state.safekeepers[number] = hostname
        self._file.save_safekeeper(number, hostname)

    def create_timeline(self, tenant_id: str, timeline_id: str, members: list[int]) -> Timeline:
        """Give a new timeline its first configuration, of which nobody is told."""
        if (tenant_id, timeline_id) in self._state.timelines:
            raise ConflictError(f"timeline {timeline_id} already exists")
        if tenant_id not in self._state.tenants:
            raise NotFoundError(f"tenant {tenant_id} not found")
        self._check(members)
        timeline = Timeline(
            tenant_id=tenant_id, timeline_id=timeline_id, generation=1, members=sorted(members)
        )
        self._state.timelines[tenant_id, timeline_id] = timeline
        self._file.save_timeline(timeline)
        return timeline

    def change(
        self, tenant_id: str, timeline_id: str, members: list[int], *, finish: bool = True
    ) -> Timeline:
        """Begin a joint configuration, and end it once the control plane knows.

        `finish` False: stay in it until a second call for the same members. Raises RefusedError.
        """
        timeline = self._state.timelines.get((tenant_id, timeline_id))
        if timeline is None:
            raise NotFoundError(f"timeline {timeline_id} not found")
        self._check(members)
        wanted = sorted(members)
        if timeline.new_members not in (None, wanted):
            raise ConflictError(f"a change to {timeline.new_members} is under way")
        if timeline.new_members is None:
            timeline.new_members = wanted
            self._step(timeline)
        key = (tenant_id, timeline_id)
        if key in self._tasks:
            self._tasks[key].cancel()
        task = asyncio.create_task(self._run(timeline, finish=finish), name=f"safekeepers {key}")
        task.add_done_callback(log_death)
        self._tasks[key] = task
        return timeline

    async def close(self) -> None:
        """End the changes under way."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    def _check(self, members: list[int]) -> None:
        if not members or (unknown := set(members) - set(self._state.safekeepers)):
            named = min(unknown) if members else "none"
            raise NotFoundError(f"safekeeper {named} not registered")

    def _step(self, timeline: Timeline) -> None:
        timeline.generation += 1
        self._file.save_timeline(timeline)
        self._events.record(
            "safekeepers_changed",
            tenant_id=timeline.tenant_id,
            timeline_id=timeline.timeline_id,
            generation=timeline.generation,
            safekeepers=timeline.union,
            joint=timeline.new_members is not None,
        )

    async def _run(self, timeline: Timeline, *, finish: bool) -> None:
        await self._tell(timeline)
        if finish and timeline.new_members is not None:
            timeline.members, timeline.new_members = timeline.new_members, None
            self._step(timeline)
            await self._tell(timeline)

    async def _tell(self, timeline: Timeline) -> None:
        """Notify until it is heard."""
        while True:
            if await self._hook.safekeepers(timeline) is Result.OK:
                return
            await asyncio.sleep(hook_rules.RECONCILE_SECONDS * self._scale)
