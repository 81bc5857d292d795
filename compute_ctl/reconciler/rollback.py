"""Going back, because a person asks for it: to the generation before the one in force."""

from __future__ import annotations

from typing import Final

from compute_ctl.decisions.apply_plan import ApplyResult, reasons
from compute_ctl.decisions.model import Outcome, Written
from compute_ctl.decisions.persistent_state import GenerationRef
from compute_ctl.document.render import Rendered, render, render_upstream
from compute_ctl.document.spec import Document
from compute_ctl.errors import SpecError, StoreError
from compute_ctl.reconciler.means import Means
from compute_ctl.reconciler.refusals import Refusals

LOOK_BACK: Final = 32
"""How many generations back a rollback looks; the last five are kept, and the good one."""


class Rollback:
    """Finds the generation to go back to, and brings it into force."""

    def __init__(self, means: Means, *, refusals: Refusals) -> None:
        self._node, self._store, self._config = means.node, means.store, means.config
        self._verifier, self._installer, self._context = (
            means.verifier,
            means.installer,
            means.context,
        )
        self._refusals = refusals

    async def roll_back(self, *, old_upstream: bool) -> ApplyResult:
        """Quarantine what is applied, and bring the generation before it into force.

        Its servers stay behind unless *old_upstream*: they may be the dead ones. If Postgres
        refuses it, what ran before is written again.
        """
        before, applied = self._node.written, self._node.state.applied
        current = await self._store.kept(applied.generation) if applied else None
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
        document, rendered = earlier
        body = rendered.rest + (rendered.upstream if old_upstream else before.upstream)
        try:
            _, token = render_upstream(document if old_upstream else current[0], self._context)
            self._config.go_back(document, instead_of=current[0])
            await self._installer.install(body, document, token, is_fallback=body != rendered.body)
        except (SpecError, StoreError) as error:
            return ApplyResult(outcome=Outcome.WRITE_FAILED, reason=str(error))
        verdict = await self._verifier.verify()
        await self._store.sync()
        if verdict.rejected:
            reason = reasons(verdict.bad, places=False)
            return await self._refusals.fall_back_to(before.body, current[0], token, reason)
        result = self._installer.conclude(verdict)
        await self._store.save(self._node.state)
        return result

    async def _other_servers(self, applied: GenerationRef, before: Written) -> str:
        """Return how the operator can go back to other servers, '' where none are kept."""
        if await self._earlier(applied, before, old_upstream=True) is None:
            return ""
        return '; "compute_ctl rollback --old-upstream" goes back to the servers of before, too'

    async def _earlier(
        self, applied: GenerationRef, before: Written, *, old_upstream: bool
    ) -> tuple[Document, Rendered] | None:
        """Return the newest generation below *applied* that nobody has refused and that differs."""
        refused = {entry.content_sha256 for entry in self._node.state.quarantine}
        for number in range(applied.generation - 1, max(applied.generation - LOOK_BACK, 0), -1):
            kept = await self._store.kept(number)
            document = kept[0] if kept else None
            if document is None or document.content_sha256 in refused | {applied.content_sha256}:
                continue
            try:
                rendered = render(document, self._context)
            except SpecError:
                continue
            upstream = rendered.upstream if old_upstream else before.upstream
            if rendered.rest + upstream != before.body:
                return document, rendered
        return None


def _nowhere(reason: str) -> ApplyResult:
    """Return the result of a rollback that has no aim; nothing was touched."""
    return ApplyResult(outcome=Outcome.REJECTED, reason=f"cannot roll back: {reason}", invalid=True)
