"""Brings a body into force: write ▸ signal ▸ verify ▸ sync ▸ conclude.

Every body takes this road: that of a new document, of a fallback and of a rollback. What is in the
file is recorded in the node before an acknowledgement of it can arrive.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass

from compute_common.document.document import Document
from compute_common.errors import SpecError
from compute_common.system.blocking_worker import beside_loop
from compute_ctl.decisions.apply_plan import ApplyResult, reasons
from compute_ctl.decisions.model import Outcome, Written
from compute_ctl.decisions.proof import Proof, Verdict
from compute_ctl.document.body import Body, changed_names, split_body
from compute_ctl.errors import StoreError
from compute_ctl.node import Node
from compute_ctl.reconciler.budget import bounded
from compute_ctl.reconciler.generations import GenerationStore
from compute_ctl.reconciler.verifier import Verifier
from compute_ctl.settings import Deadlines

logger = logging.getLogger(__name__)

PAGES_FIRST_S = 0.02
"""Pause after a reload that ends trouble, so that waiting queries get the processors first."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ConfigUpdate:
    """What is to be in force."""

    body: str
    document: Document
    """The document that asks for *body*, or that another body replaces (*is_fallback*)."""
    token: str | None
    """The storage token that goes with it."""
    is_fallback: bool = False
    may_start: bool = True
    """See `Node.now_written`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Refusal:
    """A document that is refused, and what replaces it."""

    reason: str
    update: ConfigUpdate | None = None
    """None: what is in force stays."""
    invalid: bool = False
    """See `ApplyResult`."""
    broken: bool = False
    """See `ApplyResult`."""


class Activation:
    """The live file of one Postgres, and what Postgres says of it."""

    def __init__(
        self,
        *,
        node: Node,
        store: GenerationStore,
        verifier: Verifier,
        deadlines: Deadlines,
    ) -> None:
        self._node = node
        self._store = store
        self._verifier = verifier
        self._deadlines = deadlines
        self.previous: Written | None = None
        """The last generation proven before the one that is written."""
        self._document: Document | None = None
        """Of the last generation written: a full disk may not have kept it."""

    async def activate(self, update: ConfigUpdate, *, within_s: float | None = None) -> ApplyResult:
        """Bring *update* into force; return how that ended, with what was refused.

        *within_s* bounds the verification; else the deadlines do.

        Raises:
            StoreError: it could not be written.
        """
        await self.write(update)
        verdict = await self._verifier.verify(within_s=within_s)
        await self._store.sync()
        return self.conclude(verdict)

    async def fall_back(self, refusal: Refusal) -> ApplyResult:
        """Bring what replaces a refused document into force; return how the document ended."""
        update, reason, broken = refusal.update, refusal.reason, refusal.broken
        written = self._node.config.written
        if update is not None and (written is None or written.body != update.body):
            with bounded(self._deadlines.fallback):
                failure = await self._activate_fallback(update)
            if failure:
                reason, broken = f"{reason}; {failure}", True
        return ApplyResult(
            outcome=Outcome.REJECTED,
            reason=reason,
            broken=broken,
            invalid=refusal.invalid and not broken,
        )

    async def _activate_fallback(self, update: ConfigUpdate) -> str:
        """Return why *update* could not be brought into force, '' where Postgres accepts it."""
        try:
            result = await self.activate(update, within_s=self._deadlines.fallback)
        except StoreError as error:
            return f"the fallback could not be written: {error}"
        if result.refused:
            return f"the fallback too: {reasons(result.refused, places=False)}"
        await self._store.save(self._node.config.state)
        return ""

    async def write(self, update: ConfigUpdate) -> None:
        """Make *update* the live file, and signal Postgres.

        Raises:
            StoreError: it could not be written.
        """
        # A pushed document cannot be fetched again, so its copy is stored first.
        hurry = self._node.requests.worker_complains and self._node.pushes.current is None
        changed = await self._read(update.body)
        if self._node.start.begun:
            self._node.start.file_changes(await self._store.live())
        marker = await self._store.install(
            update.body,
            document=update.document.json,
            token=update.token,
            state=self._node.config.state,
            hurry=hurry,
        )
        self._verifier.signal()  # what follows is recorded before an acknowledgement is handled
        self._document = update.document
        written = self._node.config.describe(
            marker,
            update.body,
            None if update.is_fallback else update.document,
            is_fallback=update.is_fallback,
            changed=changed,
        )
        self._node.now_written(written, may_start=update.may_start)
        logger.info("wrote generation %d to %s", marker.generation, self._store.path)
        if hurry:
            await asyncio.sleep(PAGES_FIRST_S)
        if await self._store.after_signal():
            self._verifier.signal()

    async def _read(self, body: str) -> frozenset[str]:
        """Read *body*, so that `Body.read` knows it; return which settings are new in it.

        New is what differs from the last other rest proven.

        Raises:
            StoreError: it takes too long.
        """
        before, (rest, _) = self._node.config.written, split_body(body)
        if self._node.config.proven:
            self.previous = before
        known = self.previous.rest if self.previous else ""

        def read() -> frozenset[str]:
            Body.read(body)
            if before is not None and before.rest == rest:
                return before.changed
            return changed_names(known, rest)

        try:
            return await beside_loop(read, size=len(body), name="body")
        except SpecError as error:
            raise StoreError(str(error)) from None

    async def verify_again(self) -> ApplyResult:
        """Signal Postgres once more, and see whether it proves what is in the file."""
        self._node.acks.forget()
        self._node.reload_errors.reload()
        self._verifier.signal()
        return self.conclude(await self._verifier.verify())

    def conclude(self, verdict: Verdict) -> ApplyResult:
        """Record what *verdict* proves; return how the application ended."""
        if verdict.rejected:
            return ApplyResult(
                outcome=Outcome.REJECTED,
                reason=reasons(verdict.bad),
                broken=True,
                refused=verdict.bad,
            )
        if verdict.proof is Proof.NONE:
            return self._unproven(verdict)
        self._node.proved(verdict)
        return ApplyResult(outcome=Outcome.APPLIED)

    def _unproven(self, verdict: Verdict) -> ApplyResult:
        if verdict.blocked:
            return ApplyResult(outcome=Outcome.BLOCKED, reason=reasons(verdict.blocked))
        if not self._verifier.possible:
            reason = "postgres does not accept connections yet"
            return ApplyResult(outcome=Outcome.UNPROVEN, reason=reason, excused=True)
        self._node.looked(verdict)
        reason = "postgres did not acknowledge the configuration"
        if self._verifier.sql_error:
            reason += f", and cannot be asked over SQL: {self._verifier.sql_error}"
        if file := self._verifier.blocked_on:
            reason += f'; it waits for file "{file}"'
        if verdict.lost:
            reason = f"not in force: {'; '.join(one.reason for one in verdict.shadowed)}"
        return ApplyResult(outcome=Outcome.UNPROVEN, reason=reason)

    async def document(self, written: Written) -> Document | None:
        """Return the document that *written*, which is in the live file, was made for."""
        kept = await self._store.kept(written.marker.generation)
        return kept[0] if kept else self._document
