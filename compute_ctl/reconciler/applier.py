"""Decides what becomes of a document: render ▸ classify ▸ check ▸ hand over to `Activation`.

Each step may run again from the start after a crash: the live file carries its own generation, and
is only believed once Postgres proves it. Writing, SIGHUP and acknowledgement need no pageserver, no
SQL, no free connection slot and no control plane.
"""

from __future__ import annotations

from dataclasses import dataclass

from compute_common.document.document import Document
from compute_common.errors import SpecError
from compute_common.system.blocking_worker import beside_loop
from compute_ctl.decisions.apply_plan import Action, ApplyResult, classify, reasons
from compute_ctl.decisions.model import GOOD_OUTCOMES, PUSH, Outcome
from compute_ctl.decisions.proof import Complaint, Proof, Verdict
from compute_ctl.document.continuity import (
    check_identity,
    check_mode,
    check_omissions,
    check_promoting,
    older_safekeepers,
)
from compute_ctl.document.render import RenderContext, Rendered, render
from compute_ctl.errors import StoreError
from compute_ctl.node import Node
from compute_ctl.ports import Clock, Postgres
from compute_ctl.reconciler.activation import Activation, ConfigUpdate, Refusal
from compute_ctl.reconciler.fallback import Fallback
from compute_ctl.reconciler.generations import GenerationStore
from compute_ctl.reconciler.precheck import Precheck
from compute_ctl.reconciler.rollback import Rollback


@dataclass(kw_only=True, eq=False)
class Applier:
    """Applies documents to one Postgres, one at a time."""

    node: Node
    store: GenerationStore
    activation: Activation
    fallback: Fallback
    rollback: Rollback
    precheck: Precheck
    postgres: Postgres
    clock: Clock
    context: RenderContext

    async def apply(self, document: Document, *, source: str, force: bool = False) -> ApplyResult:
        """Bring *document* into force, or say why not; bounded by the deadlines.

        *source* names where it comes from (``push`` for a pushed one). Nothing that the document,
        the disk or Postgres can do makes this raise.
        """
        result = await self._apply(document, source, force=force)
        if result.outcome is not Outcome.STALE:
            await self.precheck.warn(document)
        if source == PUSH and (result.outcome in GOOD_OUTCOMES or result.excused):
            self.node.start.retry()  # as an operator's refresh does, also with the same file
        return result

    async def _apply(self, document: Document, source: str, *, force: bool) -> ApplyResult:
        try:
            check_identity(document.spec, self.node.config.live)
        except SpecError as error:
            return ApplyResult(outcome=Outcome.REJECTED, reason=str(error), invalid=True)
        try:
            live = self.node.config.live.candidates
            rendered = await beside_loop(
                lambda: render(document, self.context, live), size=len(document.json), name="render"
            )
        except SpecError as error:
            return await self._apply_upstream_only(document, error)
        baseline = self.node.config.baseline(
            document, source, worker_complains=self.node.requests.worker_complains
        )
        action = classify(document, rendered.body, baseline, now=self.clock.wall(), force=force)
        refused = self._check_continuity(action, document, rendered, force=force)
        if refused is not None:
            return refused
        if action is not Action.KEEP and not force:
            try:
                check_mode(document, self.node.config.live, is_primary=self.postgres.is_primary)
            except SpecError as error:
                return await self._apply_upstream_only(document, error)
        if action is Action.QUARANTINED and baseline.quarantined:
            refusal = await self.fallback.refuse_again(document, rendered, baseline.quarantined)
            return await self.activation.fall_back(refusal)
        try:
            if action is Action.APPLY and not self.precheck.has_rest(rendered):
                await self.store.check_referenced_files(rendered.body)
            result = await self._act(action, document, rendered, source)
        except SpecError as error:
            result = await self._apply_upstream_only(document, error)
        except StoreError as error:
            result = ApplyResult(outcome=Outcome.WRITE_FAILED, reason=str(error))
        else:
            self.node.config.remember_pull(document, source)  # what was not written is still news
        finally:
            await self.store.save(self.node.config.state)
        return result

    def _check_continuity(
        self, action: Action, document: Document, rendered: Rendered, *, force: bool
    ) -> ApplyResult | None:
        """Return the refusal of a document that goes back, or takes away by omission."""
        if action is Action.STALE:
            reason = f"version {document.version} is older than {self.node.config.state.floor}"
            return ApplyResult(outcome=Outcome.STALE, reason=reason)
        if action is Action.KEEP:  # it is not accepted anyway
            return None
        older = older_safekeepers(rendered.servers, self.node.config.live)
        if older is not None:
            return ApplyResult(outcome=Outcome.STALE, reason=older)
        live = self.node.config.live
        try:
            check_promoting(document, promoting=self.node.promotions.irrevocable)
            promotes = document.mode == "Primary" and self.postgres.is_primary
            if not force:
                check_omissions(document, rendered.servers, live, promotes=promotes)
        except SpecError as error:
            return ApplyResult(outcome=Outcome.REJECTED, reason=str(error), invalid=True)
        return None

    async def _act(
        self, action: Action, document: Document, rendered: Rendered, source: str
    ) -> ApplyResult:
        if action in (Action.KEEP, Action.NOTHING, Action.VERIFY):
            if action is not Action.KEEP:
                self._accept(document, rendered, source)
            included = await self.store.include()
            if self.node.config.proven and not included:
                return ApplyResult(outcome=Outcome.UNCHANGED)
            return await self.verify_again()
        if action is Action.ADOPT:
            self._accept(document, rendered, source)
            self.node.proved(self.node.config.verdict or Verdict(proof=Proof.UPSTREAM))
            return ApplyResult(outcome=Outcome.APPLIED)
        complaints = await self.precheck.complaints(rendered)
        self.node.config.desire(document, source)
        if complaints:
            return await self._refuse(document, rendered, complaints)
        result = await self.activation.activate(
            ConfigUpdate(body=rendered.body, document=document, token=rendered.storage_token)
        )
        if result.refused:
            return await self._refuse(document, rendered, result.refused)
        return result

    async def _refuse(
        self, document: Document, rendered: Rendered, bad: tuple[Complaint, ...]
    ) -> ApplyResult:
        refusal = await self.fallback.refuse(document, rendered, bad)
        return await self.activation.fall_back(refusal)

    async def _apply_upstream_only(self, document: Document, error: SpecError) -> ApplyResult:
        refusal = await self.fallback.apply_upstream_only(document, error)
        return await self.activation.fall_back(refusal)

    def _accept(self, document: Document, rendered: Rendered, source: str) -> None:
        """Make *document*, which renders to what is in the file already, the one applied."""
        written = self.node.config.written
        if written is None:
            return
        same = written.content_sha256 == document.content_sha256
        if same and self.node.config.is_desired(document):
            return
        self.node.config.desire(document, source, generation=written.marker.generation)
        if same:
            self.node.config.now_has_version(document.version)
        else:
            self.node.now_written(
                self.node.config.describe(
                    written.marker, written.body, document, changed=written.changed
                ),
                may_start=False,  # Postgres may have failed to start with the same file
            )
        self.store.adopt(
            written.body,
            written.marker,
            document=document.json,
            token=rendered.storage_token,
            state=self.node.config.state,
        )

    async def verify_again(self) -> ApplyResult:
        """Signal Postgres once more, and see whether it proves what is in the file."""
        result = await self._refused_late(await self.activation.verify_again())
        await self.store.save(self.node.config.state)
        return result

    async def conclude(self, verdict: Verdict) -> ApplyResult:
        """Record *verdict* about what is in the file."""
        result = await self._refused_late(self.activation.conclude(verdict))
        await self.store.save(self.node.config.state)
        return result

    async def _refused_late(self, result: ApplyResult) -> ApplyResult:
        """Refuse what is in the file, if Postgres does so now, as a new document would be."""
        written = self.node.config.written
        if result.refused and written is not None:
            try:  # Postgres may have refused what somebody else has put there
                mended = await self.store.mend(written, self.node.config.state.floor)
            except StoreError as error:
                return ApplyResult(outcome=Outcome.WRITE_FAILED, reason=str(error))
            if mended:
                result = await self.activation.verify_again()
        if not result.refused or written is None or written.is_fallback:
            return result
        document = await self.activation.document(written)
        if document is None:
            return result
        try:
            rendered = render(document, self.context, written.candidates)
        except SpecError:
            return result
        return await self._refuse(document, rendered, result.refused)

    async def roll_back(self, *, old_upstream: bool) -> ApplyResult:
        """Bring the generation before the one applied into force; see `Rollback.choose`.

        If Postgres refuses it, what ran before is written again.
        """
        try:
            plan = await self.rollback.choose(old_upstream=old_upstream)
            if isinstance(plan, Refusal):
                return await self.activation.fall_back(plan)
            result = await self.activation.activate(plan.update)
        except (SpecError, StoreError) as error:
            return ApplyResult(outcome=Outcome.WRITE_FAILED, reason=str(error))
        if result.refused:
            reason = reasons(result.refused, places=False)
            return await self.activation.fall_back(Refusal(reason=reason, update=plan.otherwise))
        await self.store.save(self.node.config.state)
        return result
