"""Writes the live file, has Postgres read it, and concludes from what Postgres says of it.

What is in the file is recorded in the node with it, so that its acknowledgement counts at once.
"""

from __future__ import annotations

import asyncio
import logging

from compute_ctl.decisions.apply_plan import ApplyResult, GoodBody, reasons
from compute_ctl.decisions.model import Outcome, Written
from compute_ctl.decisions.proof import Proof, Verdict
from compute_ctl.document.body import Body, changed_names, split_body
from compute_ctl.document.generation import Marker, map_sha256, sha256_hex
from compute_ctl.document.spec import Document
from compute_ctl.node import Node
from compute_ctl.node.config_state import ConfigState
from compute_ctl.ports import Clock
from compute_ctl.reconciler.generations import GenerationStore
from compute_ctl.reconciler.verifier import Verifier

logger = logging.getLogger(__name__)

PAGES_FIRST_S = 0.02
"""After trouble the processors belong to the queries that heal."""


class Installer:
    """The live file of one Postgres, as the node knows it."""

    def __init__(
        self,
        *,
        node: Node,
        store: GenerationStore,
        config: ConfigState,
        verifier: Verifier,
        clock: Clock,
    ) -> None:
        self._node = node
        self._store = store
        self._config = config
        self._verifier = verifier
        self._clock = clock
        self._ran: Written | None = None
        """The last generation proven before the one that is written."""
        self._document: Document | None = None
        """Of the last generation written: a full disk may not have kept it."""

    async def install(
        self,
        body: str,
        document: Document,
        token: str | None,
        *,
        is_fallback: bool = False,
        may_start: bool = True,
    ) -> None:
        """Write *body*, for *document* or in its place (*is_fallback*), and signal Postgres.

        *may_start*: see `Node.now_written`.

        Raises:
            StoreError: it could not be written.
        """
        # Who pushes may not be able to tell it again.
        hurry = self._node.requests.worker_complains and self._node.push is None
        self._node.start.file_changes()
        marker = await self._store.install(
            body, document=document.json, token=token, state=self._node.state, hurry=hurry
        )
        self._verifier.signal()  # what follows here is recorded before an acknowledgement is heard
        self._document = document
        before = self._node.written
        self._ran = before if self._node.proven else self._ran
        rest, _ = split_body(body)
        if before is not None and before.rest == rest:
            changed = before.changed
        else:
            changed = changed_names(self._ran.rest if self._ran else "", rest)
        document_of = None if is_fallback else document
        self.record_live(
            marker,
            body,
            document_of,
            is_fallback=is_fallback,
            changed=changed,
            may_start=may_start,
        )
        logger.info("wrote generation %d to %s", marker.generation, self._store.path)
        if hurry:
            await asyncio.sleep(PAGES_FIRST_S)
        if await self._store.after_signal():
            self._verifier.signal()

    def read_identity(self, body: str) -> Body:
        """Remember whose compute *body* was written for; return it read."""
        found = Body.read(body)
        self._config.set_identity(found.tenant_id, found.timeline_id)
        return found

    def record_live(
        self,
        marker: Marker,
        body: str,
        document: Document | None,
        *,
        is_fallback: bool = False,
        changed: frozenset[str] = frozenset(),
        may_start: bool = True,
    ) -> None:
        """Record what is in the live file; *document* is None for a mixture of two.

        *changed*: see `Written`; *may_start*: see `Node.now_written`.
        """
        found = self.read_identity(body)
        published = map_sha256(marker, stripe_size=found.stripe_size, shards=found.shards)
        written = Written(
            marker=marker,
            rest=found.rest,
            upstream=found.upstream,
            at=self._clock.wall(),
            content_sha256=document.content_sha256 if document else "",
            version=document.version if document else None,
            names=found.names,
            servers=found.servers,
            map_sha256=published if found.shards else "",
            is_fallback=is_fallback,
            changed=changed,
        )
        self._node.now_written(written, may_start=may_start)

    async def document(self, written: Written) -> Document | None:
        """Return the document that *written*, which is in the live file, was made for."""
        kept = await self._store.kept(written.marker.generation)
        return kept[0] if kept else self._document

    def conclude(self, verdict: Verdict) -> ApplyResult:
        """Record what *verdict* proves; return how the application ended."""
        if verdict.rejected:
            return ApplyResult(outcome=Outcome.REJECTED, reason=reasons(verdict.bad), broken=True)
        if verdict.proof is Proof.NONE:
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
        self._node.proved(verdict)
        return ApplyResult(outcome=Outcome.APPLIED)

    async def changed_since_proven(self, body: str) -> frozenset[str]:
        """Return which settings of *body* differ from those of the last other rest proven."""
        rest, _ = split_body(body)
        for fact in reversed(self._node.state.without_rest(sha256_hex(rest)).proven_rests):
            kept = await self._store.kept(fact.generation)
            if kept is not None:
                return changed_names(split_body(kept[1].body)[0], rest)
        return changed_names("", rest)

    async def good(self, *, instead_of: str | None = None) -> GoodBody | None:
        """Return what to go back to while Postgres runs: the newest rest proven in full.

        Not *instead_of*, a rest that is refused now and may have been proven.

        It need not be one that a server came up with: where nothing but reloads has happened for
        months, that one would be months old.
        """
        fact = self._node.state.fallback
        kept = await self._store.kept(fact.generation) if fact else None
        if kept is not None:
            rest, upstream = split_body(kept[1].body)
            return GoodBody(rest=rest, upstream=upstream)
        # Its files are gone, or none is good without a doubt: what ran last has not hurt either.
        for ran in (self._node.written if self._node.proven else None, self._ran):
            if ran is not None and ran.rest != instead_of:
                return GoodBody(rest=ran.rest, upstream=ran.upstream)
        return None
