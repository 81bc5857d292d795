"""Tells the storage controller that a node is offline, within guard rails."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from control_plane.decisions import verdicts
from control_plane.decisions.model import StorageNode, VerdictState
from control_plane.errors import BusyError, ControllerError
from control_plane.fleet.reconciler import Reconciler
from control_plane.fleet.registry import Registry
from control_plane.ports import Clock, Prober, StorageController

BUSY_TRIES: Final = 10
BUSY_PAUSE_S: Final = 1.0


@dataclass(kw_only=True, eq=False)
class OfflineDeclaration:
    """What a verdict does under `act`."""

    registry: Registry
    reconciler: Reconciler
    controller: StorageController
    prober: Prober
    clock: Clock

    async def declare(
        self, node: StorageNode, others_answer: tuple[int, int]
    ) -> tuple[VerdictState, str]:
        """Declare *node* offline, unless a guard rail forbids it.

        Return the state of the verdict, and why it was refused or failed.

        Raises:
            StoreError: the intent could not be recorded; nothing was done.
        """
        history, now = self.registry.mirror.dated_history(), self.clock.monotonic()
        acts_age_s = verdicts.acts_age_s(history, now, node_id=node.id)
        if refusal := self._refusal(node, acts_age_s, others_answer):
            return VerdictState.REFUSED, refusal
        # Before it is done: what comes of it may never be known.
        text = f"node {node.id} is to be declared offline"
        await self.registry.events.record(verdicts.INTENT, text, node_id=node.id)
        state, reason = await self._tell(node, acts_age_s)
        if state is VerdictState.REFUSED:
            text = f"node {node.id} was not declared offline"
            await self.registry.events.record(verdicts.WITHDRAWN, text, node_id=node.id)
        else:
            for tenant_id in self._tenants_on(node.id):
                self.reconciler.request(tenant_id)
        return state, reason

    async def _tell(
        self, node: StorageNode, acts_age_s: Sequence[float]
    ) -> tuple[VerdictState, str]:
        """Tell the storage controller; again while it is busy and nothing forbids it."""
        left = BUSY_TRIES
        while True:
            left -= 1
            try:
                await self.controller.set_offline(node.id)
            except BusyError as error:
                if not left:
                    return VerdictState.REFUSED, str(error)
            except ControllerError as error:
                return VerdictState.FAILED, str(error)
            else:
                return VerdictState.ACTED, ""
            await asyncio.sleep(BUSY_PAUSE_S)
            if not await self.prober.probe(node):
                return VerdictState.REFUSED, "the node answers again"
            if refusal := self._refusal(node, acts_age_s, await self.others_answer(node)):
                return VerdictState.REFUSED, refusal

    def _refusal(
        self, node: StorageNode, acts_age_s: Sequence[float], others_answer: tuple[int, int]
    ) -> str:
        """Return which guard rail forbids to declare *node* offline now, '' for none."""
        read_at = self.reconciler.nodes_read_at
        if read_at is None:
            return "the list of nodes could not be read"
        return verdicts.refusal(
            node.id,
            self.registry.nodes.nodes,
            nodes_age_s=self.clock.monotonic() - read_at,
            acts_age_s=acts_age_s,
            others_answer=others_answer,
        )

    async def others_answer(self, node: StorageNode) -> tuple[int, int]:
        """Return how many of the other nodes that should live answer, and how many were asked.

        The node list is read before.
        """
        await self.reconciler.refresh_nodes()
        others = (one for one in self.registry.nodes.nodes if one.id != node.id)
        asked = [one for one in others if one.availability == "Active"][: verdicts.OTHERS_ASKED]
        answers = await asyncio.gather(*(self.prober.probe(one) for one in asked))
        return sum(not answer for answer in answers), len(asked)

    def _tenants_on(self, node_id: int) -> list[str]:
        return [
            tenant.tenant_id
            for tenant in self.registry.tenants.values()
            if tenant.placement is not None and node_id in tenant.placement.nodes
        ]
