"""Keeps the control plane informed: one notification of a tenant at a time, the newest only."""

import asyncio
from collections import defaultdict
from dataclasses import dataclass, field

from devstack.storage_controller import hook_rules
from devstack.storage_controller.hook_rules import Remembered, Result
from devstack.storage_controller.hook_sender import HookSender
from devstack.storage_controller.model import Shard, State, Timeline


@dataclass(kw_only=True)
class _Recipient:
    """One tenant, or one timeline: its send lock and what was last told of it."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    remembered: Remembered = field(default_factory=Remembered)


class ComputeHook:
    """The two hooks. Whoever waits for the lock of a tenant finds the newest state afterwards."""

    def __init__(self, state: State, sender: HookSender) -> None:
        self._state = state
        self._sender = sender
        self._tenants: defaultdict[str, _Recipient] = defaultdict(_Recipient)
        self._timelines: defaultdict[tuple[str, str], _Recipient] = defaultdict(_Recipient)
        self._acknowledged: defaultdict[tuple[str, str], int] = defaultdict(int)
        """The newest generation of a timeline's safekeepers that was answered with success."""

    async def attached(self, shard: Shard, *, creating: bool = False) -> Result:
        """Tell where a shard is attached. `creating`: a control plane need not know it yet."""
        recipient = self._tenants[shard.tenant_id]
        if shard.attached is not None:
            recipient.remembered.nodes[shard.number] = shard.attached
        async with recipient.lock:
            tenant = self._state.tenants[shard.tenant_id]
            body = hook_rules.attach_body(tenant, recipient.remembered.nodes)
            if body is None or not recipient.remembered.due(body):
                return Result.OK
            answer = await self._sender.send("notify-attach", body)
            recipient.remembered.note(body, answer.result)
        return Result.OK if creating and answer.status == 404 else answer.result

    async def safekeepers(self, timeline: Timeline) -> Result:
        """Tell the safekeepers of a timeline, if their generation is news."""
        key = (timeline.tenant_id, timeline.timeline_id)
        async with self._timelines[key].lock:
            if timeline.generation <= self._acknowledged[key]:
                return Result.OK
            generation = timeline.generation
            body = hook_rules.safekeepers_body(timeline, self._state.safekeepers)
            answer = await self._sender.send("notify-safekeepers", body)
            if answer.result is Result.OK:
                self._acknowledged[key] = generation
        return answer.result
