"""Turns suspicions into verdicts: a node is down where a quorum of computes and our probes say so.

`observe` records the verdict; `act` tells the storage controller that the node is offline, within
guard rails. A verdict that was wrong heals itself: the controller's next heartbeat makes the node
Active again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Set
from datetime import datetime
from typing import Final

from msgspec.structs import replace

from control_plane.decisions import fleet
from control_plane.decisions.evidence import Evidence, NodeEvidence
from control_plane.decisions.model import StorageNode, Verdict, VerdictState
from control_plane.errors import StoreError
from control_plane.fleet.offline import OfflineDeclaration
from control_plane.fleet.reconciler import Reconciler
from control_plane.fleet.registry import Registry
from control_plane.ports import Clock, Prober, StorageController, Store

logger = logging.getLogger(__name__)

PROBES: Final = 2
"""In a row that must fail."""
PROBE_PAUSE_S: Final = 0.1
REJUDGE_S: Final = 5.0
"""After probes that were answered, or a verdict that was refused."""
SETTLED_S: Final = 60.0
"""After a verdict that was recorded or acted on."""
WATCH_S: Final = 1.0
"""Between two looks at the nodes whose verdict may be a false alarm."""
FALSE_ALARM_S: Final = 15.0
"""A node that is Active again within this time was not down for long, or not at all."""
LEASE: Final = "judge"
LEASE_S: Final = 10.0


class Judge:
    """Weighs the reports and, where it may, acts."""

    def __init__(
        self,
        *,
        registry: Registry,
        reconciler: Reconciler,
        controller: StorageController,
        prober: Prober,
        store: Store,
        clock: Clock,
        holder: str,
        act: bool,
        quorum: int,
    ) -> None:
        """*holder*: this process in the lease; *quorum*: computes that must suspect a node."""
        self._registry = registry
        self._reconciler = reconciler
        self._controller = controller
        self._prober = prober
        self._store = store
        self._clock = clock
        self._holder = holder
        self._act = act
        self._offline = OfflineDeclaration(
            registry=registry,
            reconciler=reconciler,
            controller=controller,
            prober=prober,
            clock=clock,
        )
        self._quorum = quorum
        self._evidence = Evidence()
        self._not_before: dict[int, float] = {}
        """By node: monotonic seconds before which it is not judged again."""
        self._open: dict[int, tuple[Verdict, float]] = {}
        """Verdicts acted on that may turn out false, and since when (monotonic seconds)."""
        self._wake = asyncio.Event()
        self.false_alarms = 0
        registry.presence.on_report.append(self._on_report)

    async def run(self) -> None:
        """Judge until cancelled."""
        while True:
            await self._wait()
            try:
                await self.look()
            except StoreError as error:
                logger.error("could not record a verdict: %s", error)

    async def _wait(self) -> None:
        """Wait for a report with a suspicion, or for the next look at what is open."""
        now = self._clock.monotonic()
        more = bool(self._open) or self._evidence.any(now, self._upheld())
        pause = WATCH_S if more else None
        try:
            async with asyncio.timeout(pause):
                await self._wake.wait()
        except TimeoutError:
            return
        self._wake.clear()

    def _on_report(self, compute_id: str) -> None:
        report = self._registry.presence.of(compute_id).report
        if report is None:
            return
        now = self._clock.monotonic()
        self._evidence.report(compute_id, report.suspicions, self._registry.nodes, now)
        if report.suspicions:
            self._wake.set()

    async def look(self) -> None:
        """Judge what is suspected now, and see what became of earlier verdicts.

        Raises:
            StoreError: a verdict could not be recorded.
        """
        await self._watch_open()
        now = self._clock.monotonic()
        suspected = self._evidence.suspected_nodes(
            self._users(), quorum=self._quorum, now=now, upheld=self._upheld()
        )
        for found in suspected:
            if self._not_before.get(found.node_id, now) <= now:
                await self._judge(found)

    def _users(self) -> Mapping[int, Set[str]]:
        """Return the computes that use each node and are, or may be, alive.

        After our own start most were not heard of yet: a quorum of the few that were would be none.
        """
        now = self._clock.monotonic()
        users: dict[int, set[str]] = {}
        for record in self._registry.computes.values():
            tenant = self._registry.tenants.get(record.tenant_id or "")
            if tenant is None or tenant.placement is None:
                continue
            heard = self._registry.presence.of(record.id)
            if fleet.may_be_alive(heard, now, blind_until=self._registry.blind_until):
                for node_id in tenant.placement.nodes:
                    users.setdefault(node_id, set()).add(record.id)
        return users

    def _upheld(self) -> Mapping[str, float]:
        """Return when each compute last asked: in trouble it goes on asking, and reports once."""
        heard = self._registry.presence.heard
        return {one: it.asked_at for one, it in heard.items() if it.asked_at is not None}

    async def _judge(self, found: NodeEvidence) -> None:
        """Probe the node and, where it is down, record a verdict or act on it."""
        node = self._node(found.node_id)
        if node is None:
            return
        probes, others_answer = await self._probe(node)
        if not all(probes):
            self._hold_off(node.id, REJUDGE_S if len(probes) == PROBES else PROBE_PAUSE_S)
            return
        if not await self._store.hold_lease(LEASE, holder=self._holder, ttl_s=LEASE_S):
            self._hold_off(node.id, REJUDGE_S)
            return
        verdict = Verdict(
            node_id=node.id,
            at=self._clock.wall(),
            suspected_by=tuple(sorted(found.suspected_by)),
            users=len(found.users),
            probes=tuple(probes),
            state=VerdictState.OBSERVED,
        )
        if self._act:
            state, reason = await self._offline.declare(node, others_answer)
            verdict = _with(verdict, state, reason)
        settled = verdict.state in (VerdictState.OBSERVED, VerdictState.ACTED)
        self._hold_off(node.id, SETTLED_S if settled else REJUDGE_S)
        await self._record(verdict)

    async def _probe(self, node: StorageNode) -> tuple[list[str], tuple[int, int]]:
        """Return what the probes of *node* met, '' last for one that was answered; and others'.

        What must be known to act is asked between the probes of a node that may be down: an outage
        lasts as long as this does.
        """
        probes = [await self._prober.probe(node)]
        if not probes[0]:
            return probes, (0, 0)

        async def again() -> None:
            for _ in range(1, PROBES):
                await asyncio.sleep(PROBE_PAUSE_S)
                probes.append(await self._prober.probe(node))
                if not probes[-1]:
                    break

        if not self._act:
            await again()
            return probes, (0, 0)
        _, others_answer = await asyncio.gather(again(), self._offline.others_answer(node))
        return probes, others_answer

    async def _record(self, verdict: Verdict) -> None:
        node = f"node {verdict.node_id}"
        text = f"{node} is down: suspected by {len(verdict.suspected_by)} of {verdict.users}"
        text += f", {verdict.state}" + (f" ({verdict.reason})" if verdict.reason else "")
        logger.warning("%s", text)
        if verdict.state is VerdictState.ACTED:
            self._open[verdict.node_id] = (verdict, self._clock.monotonic())
        await self._registry.events.record(
            "verdict", text, node_id=verdict.node_id, verdict=verdict
        )

    async def _watch_open(self) -> None:
        """See which nodes acted on live: Active again, and our own probe is answered.

        Active alone says little: a heartbeat that was answered before we acted counts after it.
        """
        if not self._open:
            return
        await self._reconciler.refresh_nodes()
        now = self._clock.monotonic()
        for node_id, (verdict, since) in list(self._open.items()):
            node = self._node(node_id)
            active = node is not None and node.availability == "Active"
            if node is not None and active and not await self._prober.probe(node):
                del self._open[node_id]
                self.false_alarms += 1
                self._hold_off(node_id, REJUDGE_S)
                await self._record(_with(verdict, VerdictState.FALSE_ALARM, at=self._clock.wall()))
            elif now - since > FALSE_ALARM_S:
                del self._open[node_id]

    def _node(self, node_id: int) -> StorageNode | None:
        return next((one for one in self._registry.nodes.nodes if one.id == node_id), None)

    def _hold_off(self, node_id: int, seconds: float) -> None:
        self._not_before[node_id] = self._clock.monotonic() + seconds


def _with(
    verdict: Verdict, state: VerdictState, reason: str = "", at: datetime | None = None
) -> Verdict:
    return replace(verdict, state=state, reason=reason, at=at or verdict.at)
