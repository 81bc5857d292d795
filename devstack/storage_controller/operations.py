"""The background operation: draining a node. One at a time; meanwhile no node can be configured."""

import asyncio

from devstack.storage_controller import schedule
from devstack.storage_controller.controller import Controller
from devstack.storage_controller.errors import PreconditionError
from devstack.storage_controller.events import Events, log_death
from devstack.storage_controller.model import Node, Scheduling


class Operations:
    """Starts and cancels drains."""

    def __init__(self, controller: Controller, events: Events) -> None:
        self._controller = controller
        self._events = events
        self._task: asyncio.Task[None] | None = None

    def drain(self, node_id: int, *, pause_seconds: float = 0.0) -> None:
        """Begin to move all shards off a node, pausing before each. Raises RefusedError."""
        node = self._controller.node(node_id)
        if self._controller.operation is not None:
            raise PreconditionError(f"Background operation already ongoing for node: {node_id}")
        if not node.may_schedule:
            raise PreconditionError(f"Node {node_id} is {node.availability.value}, not Active")
        self._controller.operation = f"drain {node_id}"
        self._controller.set_scheduling(node, Scheduling.DRAINING)
        self._task = asyncio.create_task(self._drain(node, pause_seconds), name="drain")
        self._task.add_done_callback(log_death)

    def cancel(self) -> None:
        """End the drain under way, if there is one; the node may be given shards again."""
        if self._task is not None:
            self._task.cancel()

    async def close(self) -> None:
        """End it and wait."""
        self.cancel()
        if self._task is not None:
            await asyncio.wait({self._task})

    async def _drain(self, node: Node, pause_seconds: float) -> None:
        self._events.record("drain_began", node=node.id)
        policy = Scheduling.ACTIVE
        try:
            await asyncio.sleep(pause_seconds)
            for shard in self._controller.state.shards():
                if shard.attached != node.id:
                    continue
                target = schedule.drain_target(self._controller.state, shard)
                if target is None:
                    continue
                task = self._controller.migrate(shard.tenant_id, shard.number, target)
                if task is not None:
                    await asyncio.wait({task})
                await asyncio.sleep(pause_seconds)
            policy = Scheduling.PAUSE_FOR_RESTART
        finally:
            self._controller.operation = None
            self._controller.set_scheduling(node, policy)
            self._events.record("drain_ended", node=node.id)
