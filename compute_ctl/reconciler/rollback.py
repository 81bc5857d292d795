"""Chooses what a rollback goes back to: the generation before the one in force."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from compute_common.document.document import Document
from compute_common.errors import SpecError
from compute_ctl.decisions.model import Written
from compute_ctl.decisions.persistent_state import GenerationRef
from compute_ctl.document.continuity import check_mode
from compute_ctl.document.render import RenderContext, Rendered, render, render_upstream
from compute_ctl.node import Node
from compute_ctl.ports import Postgres
from compute_ctl.reconciler.activation import ConfigUpdate, Refusal
from compute_ctl.reconciler.generations import GenerationStore

LOOK_BACK: Final = 32
"""How many generations back a rollback looks; the last five are kept, and the good one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RollbackPlan:
    """What to bring into force, and what to return to where Postgres refuses that."""

    update: ConfigUpdate
    otherwise: ConfigUpdate


@dataclass(kw_only=True, eq=False)
class Rollback:
    """Finds the generation to go back to."""

    node: Node
    store: GenerationStore
    context: RenderContext
    postgres: Postgres

    async def choose(self, *, old_upstream: bool) -> RollbackPlan | Refusal:
        """Quarantine what is applied, and return the generation before it to be brought back.

        Its servers come back only with *old_upstream*, since they may be dead.

        Raises:
            SpecError: its servers cannot be rendered.
        """
        if self.node.promotions.irrevocable:
            return _nowhere("this compute is being promoted")
        before, applied = self.node.config.written, self.node.config.state.applied
        current = await self.store.kept(applied.generation) if applied else None
        if before is None or applied is None or current is None or current[0] is None:
            return _nowhere("nothing is applied, or its document is not kept")
        earlier = await self._earlier(applied, before, old_upstream=old_upstream)
        if earlier is None:
            if old_upstream:
                return _nowhere("no earlier generation is kept")
            return _nowhere(
                "no earlier generation that differs in more than its servers is kept"
                + await self._other_servers(applied, before)
            )
        (document, rendered), newest = earlier, current[0]
        body = rendered.rest + (rendered.upstream if old_upstream else before.upstream)
        _, token = render_upstream(document if old_upstream else newest, self.context)
        self.node.config.go_back(document, instead_of=newest)
        return RollbackPlan(
            update=ConfigUpdate(
                body=body, document=document, token=token, is_fallback=body != rendered.body
            ),
            otherwise=ConfigUpdate(
                body=before.body, document=newest, token=token, is_fallback=True
            ),
        )

    async def _other_servers(self, applied: GenerationRef, before: Written) -> str:
        """Return how the operator can go back to other servers, '' where none are kept."""
        if await self._earlier(applied, before, old_upstream=True) is None:
            return ""
        return '; "compute_ctl rollback --old-upstream" goes back to the servers of before, too'

    async def _earlier(
        self, applied: GenerationRef, before: Written, *, old_upstream: bool
    ) -> tuple[Document, Rendered] | None:
        """Return the newest generation below *applied* that nobody has refused and that differs."""
        live = self.node.config.live
        refused = {entry.content_sha256 for entry in self.node.config.state.quarantine}
        for number in range(applied.generation - 1, max(applied.generation - LOOK_BACK, 0), -1):
            kept = await self.store.kept(number)
            document = kept[0] if kept else None
            if document is None or document.content_sha256 in refused | {applied.content_sha256}:
                continue
            try:
                check_mode(document, live, is_primary=self.postgres.is_primary)
                rendered = render(document, self.context)
            except SpecError:
                continue
            upstream = rendered.upstream if old_upstream else before.upstream
            if rendered.rest + upstream != before.body:
                return document, rendered
        return None


def _nowhere(reason: str) -> Refusal:
    return Refusal(reason=f"cannot roll back: {reason}", invalid=True)
