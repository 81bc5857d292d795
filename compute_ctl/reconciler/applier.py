"""Brings a document into force: render ▸ check ▸ swap ▸ SIGHUP ▸ keep ▸ prove ▸ or fall back.

Each step may run again from the start after a crash: the live file carries its own generation, and
is only believed once Postgres proves it. The path swap ▸ SIGHUP ▸ acknowledgement needs no
pageserver, no SQL, no free connection slot and no control plane.
"""

from __future__ import annotations

import logging

from compute_ctl.decisions.apply_plan import Action, ApplyResult, classify, reasons
from compute_ctl.decisions.model import Outcome
from compute_ctl.decisions.persistent_state import StartAction, decide_start, floor_of
from compute_ctl.decisions.proof import Complaint, Proof, Verdict
from compute_ctl.document.body import split_body
from compute_ctl.document.generation import LiveFile, Marker
from compute_ctl.document.render import RenderContext, Rendered, render
from compute_ctl.document.spec import Document
from compute_ctl.document.versions import is_older
from compute_ctl.errors import SpecError, StoreError
from compute_ctl.node import Node
from compute_ctl.node.config_state import DISK, ConfigState
from compute_ctl.ports import Clock, SettingsTrial
from compute_ctl.reconciler.generations import GenerationStore
from compute_ctl.reconciler.installer import Installer
from compute_ctl.reconciler.means import Means
from compute_ctl.reconciler.precheck import Precheck
from compute_ctl.reconciler.refusals import Refusals
from compute_ctl.reconciler.remarks import Remarks
from compute_ctl.reconciler.rollback import Rollback
from compute_ctl.reconciler.start_fallback import StartFallback
from compute_ctl.reconciler.verifier import Verifier
from compute_ctl.settings import Deadlines
from compute_ctl.system.blocking_worker import beside_loop

logger = logging.getLogger(__name__)


class Applier:
    """Applies documents to one Postgres, one at a time."""

    def __init__(
        self,
        *,
        node: Node,
        store: GenerationStore,
        verifier: Verifier,
        clock: Clock,
        context: RenderContext,
        deadlines: Deadlines,
        trial: SettingsTrial | None = None,
    ) -> None:
        """*trial*: where the running server can be asked about new values."""
        self._node = node
        self._config = ConfigState(node=node, clock=clock)
        self._store = store
        self._verifier = verifier
        self._clock = clock
        self._context = context
        self._precheck = Precheck(node=node, store=store, trial=trial)
        self._remarks = Remarks(node=node, context=context)
        self._reloaded_for: tuple[Complaint, ...] = ()
        """What the server ran with older values of when it was last reloaded for that."""
        self._installer = Installer(
            node=node, store=store, config=self._config, verifier=verifier, clock=clock
        )
        means = Means(
            node=node,
            store=store,
            config=self._config,
            verifier=verifier,
            installer=self._installer,
            context=context,
        )
        self._refusals = Refusals(means, deadlines=deadlines)
        self._rollback = Rollback(means, refusals=self._refusals)
        self._start_fallback = StartFallback(means)

    async def restore(self) -> StartAction:
        """Take up what an earlier daemon left: adopt it, prove it again, or write it anew.

        Raises:
            StoreError: the live file cannot be read.
        """
        node = self._node
        node.state = await self._store.load()
        node.attempts = await self._store.last_attempt()
        live = await self._store.live()
        start = decide_start(live=live, state=node.state)
        if start is StartAction.REWRITE:
            live = await self._kept_for_rewrite()
            if live is not None:
                logger.warning('"%s" is not as it was left, writing it again', self._store.path)
                await self._store.reinstate(live)
        if live is not None:
            node.state = floor_of(live, node.state)
        if live is not None and live.marker is not None:
            if live.intact:
                await self._adopt_live(live.marker, live.body)
            else:
                self._installer.read_identity(live.body)  # edited: it says whose it is, and no more
        if start in (StartAction.VERIFY, StartAction.REWRITE):
            self._verifier.signal()  # an earlier daemon may have died before that
        node.restored = True
        return start

    async def _kept_for_rewrite(self) -> LiveFile | None:
        """Return what a running Postgres ran last; one that is yet to start needs a good one."""
        state = self._node.state
        facts = [state.fallback, state.last_known_good, state.started, state.applied]
        if self._verifier.postgres_exists:
            facts.reverse()
        for fact in facts:
            kept = await self._store.kept(fact.generation) if fact else None
            if kept is not None:
                return kept[1]
        return None

    async def _adopt_live(self, marker: Marker, body: str) -> None:
        """Make the generation in the live file the one to prove."""
        self._store.adopt_live(marker.generation)
        kept = await self._store.kept(marker.generation)
        document = kept[0] if kept else None
        rendered = self._render(document) if document is not None else None
        # Another body is a mixture of two; an older document was gone back to as Postgres did not
        # start: neither is what was desired.
        is_fallback = document is not None and (
            rendered is None
            or rendered.body != body
            or is_older(document.version, self._node.state.floor)
        )
        if document is not None:
            self._config.desire(document, DISK)
        document_of = None if is_fallback else document
        changed = await self._installer.changed_since_proven(body)
        self._installer.record_live(
            marker, body, document_of, is_fallback=is_fallback, changed=changed
        )
        self._node.sessions_rest = await self._rest_of_sessions()

    async def _rest_of_sessions(self) -> str | None:
        """Return the rest that a new session has run with last, if an earlier daemon saw it."""
        state = self._node.state
        for fact in (state.applied, *reversed(state.proven_rests), state.last_known_good):
            kept = await self._store.kept(fact.generation) if fact and fact.in_full else None
            if kept is not None:
                return split_body(kept[1].body)[0]
        return None

    def _render(self, document: Document) -> Rendered | None:
        try:
            return render(document, self._context)
        except SpecError:
            return None

    async def apply(self, document: Document, *, source: str, force: bool = False) -> ApplyResult:
        """Bring *document* into force, or say why not; bounded by the deadlines.

        *source* names where it comes from (``push`` for a pushed one). Nothing that the document,
        the disk or Postgres can do makes this raise.
        """
        result = await self._apply(document, source, force=force)
        if result.outcome is not Outcome.STALE:
            await self._remarks.look(document)
        return result

    async def _apply(self, document: Document, source: str, *, force: bool) -> ApplyResult:
        try:
            self._config.check_identity(document)
        except SpecError as error:
            return ApplyResult(outcome=Outcome.REJECTED, reason=str(error), invalid=True)
        try:
            rendered = await beside_loop(
                lambda: render(document, self._context), size=len(document.json), name="render"
            )
        except SpecError as error:
            return await self._refusals.salvage(document, error)
        known = self._config.known(document, source)
        step = classify(document, rendered.body, known, now=self._clock.wall(), force=force)
        refused = self._not_taken(step, document, rendered, force=force)
        if refused is not None:
            return refused
        if step is Action.QUARANTINED and known.quarantined:
            return await self._refusals.refuse_again(document, rendered, known.quarantined)
        try:
            if step is Action.APPLY and not self._precheck.has_rest(rendered):
                await self._store.check_referenced_files(rendered.body)
            result = await self._take(step, document, rendered, source)
        except SpecError as error:
            result = await self._refusals.salvage(document, error)
        except StoreError as error:
            result = ApplyResult(outcome=Outcome.WRITE_FAILED, reason=str(error))
        else:
            self._config.remember_pull(document, source)  # what was not written is still news
        finally:
            await self._store.save(self._node.state)
        return result

    def _not_taken(
        self, step: Action, document: Document, rendered: Rendered, *, force: bool
    ) -> ApplyResult | None:
        """Return the refusal of a document that goes back, or takes away by omission."""
        if step is Action.STALE:
            reason = f"version {document.version} is older than {self._node.state.floor}"
            return ApplyResult(outcome=Outcome.STALE, reason=reason)
        if step is Action.KEEP:  # it is not accepted anyway
            return None
        older = self._config.older_safekeepers(rendered.servers)
        if older is not None:
            return ApplyResult(outcome=Outcome.STALE, reason=older)
        if force:
            return None
        try:
            self._config.check_omissions(document, rendered.servers)
        except SpecError as error:
            return ApplyResult(outcome=Outcome.REJECTED, reason=str(error), invalid=True)
        return None

    async def _take(
        self, step: Action, document: Document, rendered: Rendered, source: str
    ) -> ApplyResult:
        if step in (Action.KEEP, Action.NOTHING, Action.VERIFY):
            if step is not Action.KEEP:
                self._accept(document, rendered, source)
            included = await self._store.include()
            if self._node.proven and not included:
                return ApplyResult(outcome=Outcome.UNCHANGED)
            return await self.verify_again()
        if step is Action.ADOPT:
            self._accept(document, rendered, source)
            self._node.proved(self._node.verdict or Verdict(proof=Proof.UPSTREAM))
            return ApplyResult(outcome=Outcome.APPLIED)
        complaints = await self._precheck.complaints(rendered)
        self._config.desire(document, source)
        if complaints:
            return await self._refusals.refuse(document, rendered, complaints)
        await self._installer.install(rendered.body, document, rendered.storage_token)
        verdict = await self._verifier.verify()
        await self._store.sync()
        if verdict.rejected:
            return await self._refusals.refuse(document, rendered, verdict.bad)
        return self._installer.conclude(verdict)

    async def verify_again(self) -> ApplyResult:
        """Signal Postgres once more, and see whether it proves what is in the file."""
        self._node.acks.forget()
        self._node.reload_errors.reload()
        self._verifier.signal()
        return await self._judged(await self._verifier.verify())

    async def _judged(self, verdict: Verdict) -> ApplyResult:
        """Conclude; what turns out to be bad only now is refused as it would have been at first."""
        written = self._node.written
        if verdict.rejected and written is not None and not written.is_fallback:
            document = await self._installer.document(written)
            rendered = self._render(document) if document is not None else None
            if document is not None and rendered is not None:
                return await self._refusals.refuse(document, rendered, verdict.bad)
        return self._installer.conclude(verdict)

    async def inspect(self) -> ApplyResult | None:
        """Look whether what was proven still holds: the file as written, nothing overriding it.

        Returns how it ended where something had to be done about what was found.
        """
        written = self._node.written
        live = await self._store.live()
        if written is not None and (
            live is None or live.marker != written.marker or not live.intact
        ):
            logger.warning('"%s" is not as it was left, writing it again', self._store.path)
            floor = self._node.state.floor
            await self._store.reinstate(
                LiveFile(marker=written.marker, body=written.body, floor=floor)
            )
            return await self.verify_again()
        if await self._store.include():
            return await self.verify_again()
        return await self.looked(await self.look())

    async def look(self) -> Verdict | None:
        """Return what a new session says of what runs; changes nothing, and may be cancelled."""
        return await self._verifier.inspect()

    async def looked(self, verdict: Verdict | None) -> ApplyResult | None:
        """Record what a look has found; return how it ended where something had to be done."""
        if verdict is None or (verdict.blind and not verdict.bad and self._node.proven):
            return None  # silence changes nothing
        if verdict.rejected:
            result = await self._judged(verdict)
            await self._store.save(self._node.state)
            return result
        before = self._node.verdict
        for complaint in verdict.shadowed:
            if before is None or complaint not in before.shadowed:
                logger.warning("drift: %s", reasons((complaint,)))
        if verdict.stale and verdict.shadowed != self._reloaded_for:
            self._reloaded_for = verdict.shadowed  # once: what a reload does not mend is only told
            return await self.verify_again()
        if verdict.proof is Proof.NONE:
            self._node.looked(verdict)
            return None
        self._node.proved(verdict)
        await self._store.save(self._node.state)
        return None

    def _accept(self, document: Document, rendered: Rendered, source: str) -> None:
        """Move the facts to a document that renders to what is in the file already."""
        written = self._node.written
        if written is None:
            return
        same = written.content_sha256 == document.content_sha256
        if same and self._config.is_desired(document):
            return
        self._config.desire(document, source, generation=written.marker.generation)
        if same:
            self._node.now_has_version(document.version)
        else:
            self._installer.record_live(
                written.marker, written.body, document, changed=written.changed
            )
        self._store.adopt(
            written.body,
            written.marker,
            document=document.json,
            token=rendered.storage_token,
            state=self._node.state,
        )

    async def fall_back_for_start(self, reason: str) -> bool:
        """Write something that Postgres may start with; see `StartFallback.next`."""
        return await self._start_fallback.next(reason)

    async def note_start(self) -> None:
        """Postgres has become ready: remember the generation that it was started with."""
        node = self._node
        try:
            live, changed_at = (
                await self._store.live(),
                await self._store.live_changed_at(),
            )
        except StoreError as error:
            logger.warning("%s", error)
            return
        written = node.written
        as_left = live is not None and live.intact and written and live.marker == written.marker
        found = node.start.came_up(written if as_left else None, changed_at)
        if found is not None:
            node.came_up(found)
            await self._store.save(node.state)

    async def roll_back(self, *, old_upstream: bool) -> ApplyResult:
        """Bring the generation before the one applied into force; see `Rollback.roll_back`."""
        return await self._rollback.roll_back(old_upstream=old_upstream)
