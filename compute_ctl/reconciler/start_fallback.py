"""What follows when Postgres does not come up: the generations before, each tried once.

A reload does not prove that a server starts: one with ``ssl = on`` and no certificate reloads
without an error in any view. So the kept generations are tried, newest first, each with the newest
servers, down to the last one that a server came up with. If none of them starts, it was not the
document's fault (a port in use, no memory), and the newest is put back for the next attempt.
"""

from __future__ import annotations

import logging
from collections import deque
from dataclasses import dataclass, field

from compute_common.document.document import Document
from compute_common.errors import SpecError
from compute_ctl.decisions.model import StartFailure, Written
from compute_ctl.decisions.start_candidates import Candidate, KeptRest, candidates
from compute_ctl.decisions.transitions import Event, Status
from compute_ctl.document.body import Body, split_body
from compute_ctl.document.generation import Marker
from compute_ctl.document.render import RenderContext, render, render_upstream
from compute_ctl.errors import StoreError
from compute_ctl.node import Node
from compute_ctl.reconciler.activation import Activation, ConfigUpdate
from compute_ctl.reconciler.generations import GenerationStore

logger = logging.getLogger(__name__)


@dataclass(kw_only=True)
class _Walk:
    """One way back, from the first failed start to one that succeeds or the last candidate."""

    failed: Written
    document: Document
    token: str | None
    left: deque[Candidate] = field(default_factory=deque)
    wrote: Marker | None = None
    """Of the candidate that is being tried."""
    quarantined: bool = False


@dataclass(kw_only=True, eq=False)
class StartFallback:
    """Chooses what to start Postgres with after it has not come up."""

    node: Node
    store: GenerationStore
    activation: Activation
    context: RenderContext
    _walk: _Walk | None = field(default=None, init=False)

    async def handle(self, failure: StartFailure) -> None:
        """Write something that Postgres may start with, unless that has happened since."""
        node, written = self.node, self.node.config.written
        if written is not None and written.marker != failure.marker:
            return
        node.attempts.show_error(failure.reason)
        try:
            if written is not None and await self.store.mend(written, node.config.state.floor):
                node.start.retry()  # what it was started with is no fault of the document
                return
            if await self._next(failure.reason):
                return
        except StoreError as error:
            logger.error("%s", error)
        if node.status is Status.INIT:
            node.move(Event.START_FAILED, failure.reason)

    async def _next(self, reason: str) -> bool:
        """Write the next candidate; False where none is left, and the first one is back in place.

        *reason*: why Postgres did not start, for the quarantine of the first one's document.

        Raises:
            StoreError: it cannot be written.
        """
        written = self.node.config.written
        if written is None:
            return False
        walk = self._walk
        if walk is None or walk.wrote != written.marker:
            walk = self._walk = await self._begin(written)
            if walk is None:
                return False
            if walk.left and not written.is_fallback:
                self.node.config.quarantine(walk.document, reason)
                walk.quarantined = True
        else:
            await self.store.drop(written.marker.generation)
        if not walk.left:
            await self._give_up(walk)
            return False
        one = walk.left.popleft()
        logger.warning(
            "trying to start postgres with the settings of generation %d", one.generation
        )
        await self.activation.write(
            ConfigUpdate(body=one.body, document=walk.document, token=walk.token, is_fallback=True)
        )
        walk.wrote = self.node.config.written.marker if self.node.config.written else None
        await self.store.save(self.node.config.state)
        return True

    async def _begin(self, failed: Written) -> _Walk | None:
        """Return the way back from *failed*; None where its document is not known."""
        document = await self.activation.document(failed)
        token = self._token(document)
        if document is None or token is None:
            return None
        kept = [
            KeptRest(generation=number, rest=rest, upstream=upstream, refused=refused)
            for number, document_of, live in await self.store.all_kept()
            for rest, upstream in [split_body(live.body)]
            for refused in [self._is_refused(document_of, live.body)]
        ]
        started = self.node.config.state.started
        found = candidates(failed, kept, started=started.generation if started else None)
        # The copies that the way itself makes must not displace those it leads over.
        self.store.held = frozenset(one.generation for one in kept)
        return _Walk(failed=failed, document=document, token=token[0], left=deque(found))

    def _token(self, document: Document | None) -> tuple[str | None] | None:
        """Return the storage token in a tuple; None where the document cannot be written now."""
        if document is None:
            return None
        try:
            return (render_upstream(document, self.context)[1],)
        except SpecError:  # kept by an earlier version, which took what this one refuses
            return None

    def _is_refused(self, document: Document | None, body: str) -> bool:
        """Whether *body* is what a refused *document* asks for, and not what replaced it."""
        state = self.node.config.state
        if document is None or state.quarantine_entry(document.content_sha256) is None:
            return False
        try:
            return render(document, self.context, Body.read(body).candidates).body == body
        except SpecError:
            return False

    async def _give_up(self, walk: _Walk) -> None:
        """Put back what the way began with."""
        node = self.node
        self._walk = None
        if node.config.written is not None and node.config.written.body != walk.failed.body:
            # Not started again: writing takes a while, in which the supervisor would do so.
            await self.activation.write(
                ConfigUpdate(
                    body=walk.failed.body,
                    document=walk.document,
                    token=walk.token,
                    is_fallback=walk.failed.is_fallback,
                    may_start=False,
                )
            )
        if walk.quarantined:
            self.node.config.lift(walk.document)
        self.store.held = frozenset()
        await self.store.save(node.config.state)
