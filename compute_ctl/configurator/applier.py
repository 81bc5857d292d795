"""Brings a document into force: render ▸ check ▸ swap ▸ SIGHUP ▸ prove ▸ fall back if refused.

Each step may run again from the start after a crash: the live file carries its own generation, and
is only believed once Postgres proves it. The path swap ▸ SIGHUP ▸ acknowledgement needs no
pageserver, no SQL, no free connection slot and no control plane.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

from compute_ctl.configurator.journal import Journal
from compute_ctl.configurator.ledger import DISK, Ledger
from compute_ctl.configurator.prover import Prover
from compute_ctl.decisions.attempt import Good, Step, fall_back, reasons, weigh
from compute_ctl.decisions.facts import PUSH, Outcome, Written
from compute_ctl.decisions.proof import Complaint, Proof, Verdict
from compute_ctl.decisions.recovery import Fact, Quarantined, Start, decide_start
from compute_ctl.document.generation import LiveFile, Marker, map_sha256
from compute_ctl.document.render import (
    Body,
    RenderContext,
    Rendered,
    render,
    render_upstream,
    split_body,
)
from compute_ctl.document.spec import Document
from compute_ctl.document.spec_sources import UPSTREAM_SETTINGS
from compute_ctl.document.versions import is_older
from compute_ctl.errors import SpecError, StoreError
from compute_ctl.node import Node
from compute_ctl.ports import Clock
from compute_ctl.settings import Deadlines

logger = logging.getLogger(__name__)

LOOK_BACK = 32
"""How many generations back a rollback looks; the last five are kept, and the good one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """How the application of one document ended."""

    outcome: Outcome
    reason: str = ""
    broken: bool = False
    """Neither the document nor a good generation runs."""
    invalid: bool = False
    """Refused by our own checks."""
    excused: bool = False
    """Not proven, but nobody is to blame: Postgres is not up."""


class Applier:
    """Applies documents to one Postgres, one at a time."""

    def __init__(
        self,
        *,
        node: Node,
        journal: Journal,
        prover: Prover,
        clock: Clock,
        context: RenderContext,
        deadlines: Deadlines,
    ) -> None:
        self._node = node
        self._ledger = Ledger(node=node, clock=clock)
        self._journal = journal
        self._prover = prover
        self._clock = clock
        self._context = context
        self._deadlines = deadlines
        self._ran: Written | None = None
        """The last generation proven before the one that is written."""

    async def restore(self) -> Start:
        """Take up what an earlier daemon left: adopt it, prove it again, or write it anew.

        Raises:
            StoreError: the live file cannot be read.
        """
        node = self._node
        node.state = await self._journal.load()
        live = await self._journal.live()
        start = decide_start(live=live, state=node.state)
        if start is Start.REWRITE:
            live = await self._kept_for_rewrite()
            if live is not None:
                logger.warning('"%s" is not as it was left, writing it again', self._journal.path)
                await self._journal.reinstate(live)
        if live is not None and live.marker is not None:
            await self._take_up(live.marker, live.body)
        return start

    async def _kept_for_rewrite(self) -> LiveFile | None:
        """Return what a running Postgres ran last; one that is yet to start needs a good one."""
        facts = [self._node.state.last_known_good, self._node.state.applied]
        if self._prover.postgres_exists:
            facts.reverse()
        for fact in facts:
            kept = await self._journal.kept(fact.generation) if fact else None
            if kept is not None:
                return kept[1]
        return None

    async def _take_up(self, marker: Marker, body: str) -> None:
        """Make the generation in the live file the one to prove."""
        kept = await self._journal.kept(marker.generation)
        document = kept[0] if kept else None
        rendered = self._render(document) if document is not None else None
        is_fallback = document is not None and (rendered is None or rendered.body != body)
        if document is not None:
            self._ledger.desire(document, DISK)
        self._node.now_written(
            self._written(marker, body, None if is_fallback else document, is_fallback=is_fallback)
        )

    def _render(self, document: Document) -> Rendered | None:
        try:
            return render(document, self._context)
        except SpecError:
            return None

    async def apply(self, document: Document, *, source: str, force: bool = False) -> Result:
        """Bring *document* into force, or say why not; bounded by the deadlines.

        *source* names where it comes from (``push`` for a pushed one). Nothing that the document,
        the disk or Postgres can do makes this raise.
        """
        try:
            self._ledger.check_identity(document)
        except SpecError as error:
            return Result(outcome=Outcome.REJECTED, reason=str(error), invalid=True)
        try:
            rendered = render(document, self._context)
        except SpecError as error:
            return await self._salvage(document, error)
        known = self._ledger.known(document, source)
        step = weigh(document, rendered.body, known, now=self._clock.wall(), force=force)
        if step is Step.STALE:
            reason = f"version {document.version} is older than {known.floor}"
            return Result(outcome=Outcome.STALE, reason=reason)
        if step is Step.QUARANTINED and known.quarantined:
            return await self._still_refused(document, rendered, known.quarantined)
        try:
            return await self._take(step, document, rendered, source)
        except StoreError as error:
            return Result(outcome=Outcome.WRITE_FAILED, reason=str(error))
        finally:
            self._ledger.remember_pull(document, source)
            await self._journal.save(self._node.state)

    async def _take(
        self, step: Step, document: Document, rendered: Rendered, source: str
    ) -> Result:
        if step is Step.NOTHING:
            return Result(outcome=Outcome.UNCHANGED)
        if step is Step.PROVE:
            return await self.prove_again()
        if step is Step.ADOPT:
            return self._adopt(document, source)
        for warning in rendered.warnings:
            logger.warning("%s", warning)
        complaints = await self._precheck(rendered)
        self._ledger.desire(document, source)
        if complaints:
            return await self._refused(document, rendered, complaints)
        await self._install(rendered.body, document, rendered.storage_token)
        verdict = await self._prover.prove()
        await self._journal.sync()
        if verdict.rejected:
            return await self._refused(document, rendered, verdict.bad)
        return self._conclude(verdict)

    async def prove_again(self) -> Result:
        """Signal Postgres once more, and see whether it proves what is in the file."""
        self._node.acks.forget()
        return await self._judged(await self._prover.prove())

    async def _judged(self, verdict: Verdict) -> Result:
        """Conclude; what turns out to be bad only now is refused as it would have been at first."""
        written = self._node.written
        if verdict.rejected and written is not None and not written.is_fallback:
            kept = await self._journal.kept(written.marker.generation)
            document = kept[0] if kept else None
            rendered = self._render(document) if document is not None else None
            if document is not None and rendered is not None:
                return await self._refused(document, rendered, verdict.bad)
        return self._conclude(verdict)

    async def inspect(self) -> None:
        """Look whether what was proven still holds: the file as written, nothing overriding it."""
        written = self._node.written
        live = await self._journal.live()
        if written is not None and (
            live is None or live.marker != written.marker or not live.intact
        ):
            logger.warning('"%s" is not as it was left, writing it again', self._journal.path)
            await self._journal.reinstate(LiveFile(marker=written.marker, body=written.body))
            await self.prove_again()
            return
        verdict = await self._prover.inspect()
        if verdict.rejected:
            await self._judged(verdict)
            await self._journal.save(self._node.state)
            return
        if verdict.proof is Proof.NONE:
            return
        for complaint in verdict.shadowed:
            logger.warning("drift: %s", reasons((complaint,)))
        self._node.proved(verdict)
        await self._journal.save(self._node.state)

    def _conclude(self, verdict: Verdict) -> Result:
        if verdict.proof is Proof.NONE:
            if verdict.blocked:
                return Result(outcome=Outcome.BLOCKED, reason=reasons(verdict.blocked))
            if not self._prover.possible:
                reason = "postgres does not accept connections yet"
                return Result(outcome=Outcome.UNPROVEN, reason=reason, excused=True)
            reason = "postgres did not acknowledge the configuration"
            return Result(outcome=Outcome.UNPROVEN, reason=reason)
        self._node.proved(verdict)
        return Result(outcome=Outcome.APPLIED)

    def _adopt(self, document: Document, source: str) -> Result:
        """Move the facts to a document that renders to what runs already."""
        written = self._node.written
        if written is not None:
            self._ledger.desire(document, source)
            self._node.now_written(self._written(written.marker, written.body, document))
            self._node.proved(self._node.verdict or Verdict(proof=Proof.UPSTREAM))
        return Result(outcome=Outcome.APPLIED)

    async def _precheck(self, rendered: Rendered) -> tuple[Complaint, ...]:
        """Ask the server's binary first, unless only the upstream changed: that is urgent."""
        written = self._node.written
        if written is not None and written.rest == rendered.rest:
            return ()
        found = await self._journal.check(rendered.body)
        for complaint in found:
            if complaint.file != self._journal.path:
                logger.warning("not ours, but in the way: %s", reasons((complaint,)))
        return tuple(complaint for complaint in found if complaint.file == self._journal.path)

    async def _install(
        self, body: str, document: Document, token: str | None, *, is_fallback: bool = False
    ) -> None:
        marker = await self._journal.install(
            body, document=document.json, token=token, state=self._node.state
        )
        self._ran = self._node.written if self._node.proven else self._ran
        self._node.now_written(
            self._written(marker, body, None if is_fallback else document, is_fallback=is_fallback)
        )
        logger.info("wrote generation %d to %s", marker.generation, self._journal.path)

    def _written(
        self, marker: Marker, body: str, document: Document | None, *, is_fallback: bool = False
    ) -> Written:
        """Describe what is in the live file; *document* is None for a mixture of two."""
        found = Body.read(body)
        self._ledger.belong_to(found.tenant_id, found.timeline_id)
        published = map_sha256(marker, stripe_size=found.stripe_size, shards=found.shards)
        return Written(
            marker=marker,
            rest=found.rest,
            upstream=found.upstream,
            at=self._clock.wall(),
            content_sha256=document.content_sha256 if document else "",
            version=document.version if document else None,
            names=found.names,
            map_sha256=published if found.shards else "",
            is_fallback=is_fallback,
        )

    # Refusals

    async def _refused(
        self, document: Document, rendered: Rendered, bad: tuple[Complaint, ...]
    ) -> Result:
        """Quarantine the document, and bring a good generation (back) into force."""
        reason = reasons(bad)
        logger.error("configuration refused: %s", reason)
        servers_too = any(complaint.name in UPSTREAM_SETTINGS for complaint in bad)
        self._ledger.quarantine(document, reason, servers_too=servers_too)
        body = fall_back(upstream=rendered.upstream, bad=bad, good=await self._good())
        return await self._fall_back(body, document, rendered.storage_token, reason)

    async def _still_refused(
        self, document: Document, rendered: Rendered, entry: Quarantined
    ) -> Result:
        """Keep a refused document out, but not the servers it names while the old ones are dead.

        The fallback that brings them may have failed on a full disk.
        """
        reason = f"quarantined: {entry.reason}"
        written, good = self._node.written, await self._good()
        if (
            written is None
            or good is None
            or entry.servers_too
            or written.upstream == rendered.upstream
            or not self._node.requests.worker_complains
        ):
            return Result(outcome=Outcome.REJECTED, reason=reason)
        body = good.rest + rendered.upstream
        return await self._fall_back(body, document, rendered.storage_token, reason)

    async def _salvage(self, document: Document, error: SpecError) -> Result:
        """Save the upstream part of a document of which the rest cannot be written.

        Only while Postgres itself suffers: else bad input is refused without touching anything.
        """
        known = self._ledger.known(document, PUSH)
        good = await self._good()
        result = Result(outcome=Outcome.REJECTED, reason=str(error), invalid=True)
        suffers = self._node.requests.worker_complains
        if good is None or not suffers or is_older(document.version, known.floor):
            return result
        try:
            upstream, token = render_upstream(document, self._context)
        except SpecError:
            return result
        self._ledger.desire(document, "refused")
        self._ledger.quarantine(document, str(error))
        body = good.rest + upstream
        return await self._fall_back(body, document, token, str(error), invalid=True)

    async def _fall_back(
        self,
        body: str | None,
        document: Document,
        token: str | None,
        reason: str,
        *,
        invalid: bool = False,
    ) -> Result:
        """Bring *body* into force in place of a refused document."""
        if body is None:
            return Result(outcome=Outcome.REJECTED, reason=reason, broken=True)
        if self._node.written is not None and self._node.written.body == body:
            return Result(outcome=Outcome.REJECTED, reason=reason, invalid=invalid)
        try:
            await self._install(body, document, token, is_fallback=True)
        except StoreError as error:
            reason = f"{reason}; the fallback could not be written: {error}"
            return Result(outcome=Outcome.REJECTED, reason=reason, broken=True)
        verdict = await self._prover.prove(within_s=self._deadlines.fallback)
        await self._journal.sync()
        if verdict.rejected:
            reason = f"{reason}; the fallback too: {reasons(verdict.bad)}"
            return Result(outcome=Outcome.REJECTED, reason=reason, broken=True)
        self._conclude(verdict)
        await self._journal.save(self._node.state)
        return Result(outcome=Outcome.REJECTED, reason=reason, invalid=invalid)

    async def retreat(self, reason: str) -> bool:
        """Postgres did not start on what is written: write the last known good generation.

        Returns False where that is what it did not start on, or there is none.

        Raises:
            StoreError: it cannot be written.
        """
        node = self._node
        good = node.state.last_known_good
        kept = await self._journal.kept(good.generation) if good else None
        if node.written is None or kept is None or kept[0] is None:
            return False
        if node.written.body == kept[1].body:
            return False
        refused = await self._journal.kept(node.written.marker.generation)
        if refused is not None and refused[0] is not None:
            self._ledger.quarantine(refused[0], reason)
        _, token = render_upstream(kept[0], self._context)
        await self._install(kept[1].body, kept[0], token, is_fallback=True)
        await self._journal.save(node.state)
        return True

    async def roll_back(self, *, old_upstream: bool) -> Result:
        """Quarantine what is applied, and bring the generation before it into force.

        Its servers stay behind unless *old_upstream*: they may be the dead ones. If Postgres
        refuses it, what ran before is written again.
        """
        before, applied = self._node.written, self._node.state.applied
        current = await self._journal.kept(applied.generation) if applied else None
        if before is None or applied is None or current is None or current[0] is None:
            return _nowhere("nothing is applied, or its document is not kept")
        earlier = await self._earlier(applied, before, old_upstream=old_upstream)
        if earlier is None:
            same = "" if old_upstream else " that differs in more than its servers"
            return _nowhere(f"no earlier generation{same} is kept")
        document, rendered = earlier
        body = rendered.rest + (rendered.upstream if old_upstream else before.upstream)
        try:
            _, token = render_upstream(document if old_upstream else current[0], self._context)
            self._ledger.go_back(document, instead_of=current[0])
            await self._install(body, document, token, is_fallback=body != rendered.body)
        except (SpecError, StoreError) as error:
            return Result(outcome=Outcome.WRITE_FAILED, reason=str(error))
        verdict = await self._prover.prove()
        await self._journal.sync()
        if verdict.rejected:
            reason = reasons(verdict.bad)
            return await self._fall_back(before.body, current[0], token, reason)
        result = self._conclude(verdict)
        await self._journal.save(self._node.state)
        return result

    async def _earlier(
        self, applied: Fact, before: Written, *, old_upstream: bool
    ) -> tuple[Document, Rendered] | None:
        """Return the newest generation below *applied* that nobody has refused and that differs."""
        refused = {entry.content_sha256 for entry in self._node.state.quarantine}
        for number in range(applied.generation - 1, max(applied.generation - LOOK_BACK, 0), -1):
            kept = await self._journal.kept(number)
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

    async def _good(self) -> Good | None:
        """Return what to go back to."""
        fact = self._node.state.last_known_good
        kept = await self._journal.kept(fact.generation) if fact else None
        if kept is not None:
            rest, upstream = split_body(kept[1].body)
            return Good(rest=rest, upstream=upstream)
        # Its files are gone, or none is good without a doubt: what ran last has not hurt either.
        ran = self._node.written if self._node.proven else self._ran
        return None if ran is None else Good(rest=ran.rest, upstream=ran.upstream)


def _nowhere(reason: str) -> Result:
    """Return the result of a rollback that has no aim; nothing was touched."""
    return Result(outcome=Outcome.REJECTED, reason=f"cannot roll back: {reason}", invalid=True)
