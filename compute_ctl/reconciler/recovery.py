"""Takes over what an earlier daemon left, and notes what Postgres was started with."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

from compute_common.document.document import Document
from compute_common.document.versions import is_older
from compute_common.errors import SpecError
from compute_ctl.decisions.persistent_state import PersistentState, StartAction, decide_start
from compute_ctl.document.body import UPSTREAM_BEGIN, Body, changed_names, split_body
from compute_ctl.document.generation import LiveFile, Marker, sha256_hex
from compute_ctl.document.promotion import is_following_body
from compute_ctl.document.render import RenderContext, render
from compute_ctl.errors import StoreError
from compute_ctl.node import Node
from compute_ctl.node.config_state import DISK
from compute_ctl.reconciler.generations import GenerationStore
from compute_ctl.reconciler.verifier import Verifier

logger = logging.getLogger(__name__)


@dataclass(kw_only=True, eq=False)
class Recovery:
    """Restores what an earlier daemon left."""

    node: Node
    store: GenerationStore
    verifier: Verifier
    context: RenderContext

    async def restore(self) -> StartAction:
        """Adopt the live file of an earlier daemon, verify it again, or write a kept one.

        Raises:
            StoreError: the live file cannot be read.
        """
        state = await self.store.load()
        self.node.config.restore(state, None)
        attempts = await self.store.last_attempt()
        live = await self.store.live()
        start = decide_start(live=live, state=state)
        if start is StartAction.REWRITE:
            live = await self._kept_for_rewrite(state)
            if live is not None:
                logger.warning(
                    'file "%s" is not as it was written, writing it again', self.store.path
                )
                await self.store.reinstate(live)
        self.node.config.restore(state, live)
        sessions_rest = None
        if live is not None and live.marker is not None and live.intact:
            await self._adopt_live(live.marker, live.body)
            sessions_rest = await self._rest_of_sessions()
        elif live is not None and (live.marker or UPSTREAM_BEGIN in live.body):
            # Ours, and edited by hand: it still says what the compute has.
            self.node.config.read_identity(live.body)
        if start in (StartAction.VERIFY, StartAction.REWRITE):
            self.verifier.signal()  # an earlier daemon may have died before that
        self.node.restore(attempts=attempts, sessions_rest=sessions_rest)
        return start

    async def _kept_for_rewrite(self, state: PersistentState) -> LiveFile | None:
        """Return what a running Postgres ran last; one that is yet to start needs a good one."""
        facts = [state.fallback, state.last_known_good, state.started, state.applied]
        if self.verifier.postgres_exists:
            facts.reverse()
        for fact in facts:
            kept = await self.store.kept(fact.generation) if fact else None
            if kept is not None:
                return kept[1]
        return None

    async def _adopt_live(self, marker: Marker, body: str) -> None:
        """Make the generation in the live file the one to verify."""
        self.store.adopt_live(marker.generation)
        kept = await self.store.kept(marker.generation)
        document = self._as_accepted(marker, kept[0] if kept else None)
        is_fallback = document is not None and self._is_fallback(document, body)
        if document is not None:
            found = Body.read(body)
            says = is_fallback and "neon.compute_mode" in found.names
            mode = found.mode.capitalize() if says else document.mode  # of the settings in force
            self.node.config.desire(replace(document, mode=mode), DISK)
            if is_fallback and self._is_of_promotion(document, body):
                self.node.promotions.found_unfinished(document)
        changed = await self._changed_since_proven(body)
        self.node.now_written(
            self.node.config.describe(
                marker,
                body,
                None if is_fallback else document,
                is_fallback=is_fallback,
                changed=changed,
            )
        )

    def _as_accepted(self, marker: Marker, document: Document | None) -> Document | None:
        """Return *document* in the version in which it was accepted last.

        A full disk takes a state, but no copy: then the copy is of an earlier version.
        """
        applied = self.node.config.state.applied
        if document is None or applied is None or applied.marker != str(marker):
            return document
        same = document.content_sha256 == applied.content_sha256
        older = same and is_older(document.version, applied.version)
        return replace(document, version=applied.version) if older else document

    def _is_fallback(self, document: Document, body: str) -> bool:
        """Whether *body* replaced what *document* asks for.

        Another body mixes two documents. An older document was gone back to since Postgres did not
        start.
        """
        try:
            rendered = render(document, self.context, Body.read(body).candidates)
        except SpecError:
            return True
        return rendered.body != body or is_older(document.version, self.node.config.state.floor)

    def _is_of_promotion(self, document: Document, body: str) -> bool:
        """Whether an earlier daemon has ended while it promoted a standby to *document*."""
        if document.spec.mode != "Primary":
            return False
        try:
            rendered = render(document, self.context, Body.read(body).candidates)
            return is_following_body(rendered.body, body)
        except SpecError:
            return False

    async def _changed_since_proven(self, body: str) -> frozenset[str]:
        """Return which settings of *body* differ from those of the last other rest proven."""
        rest, _ = split_body(body)
        for fact in reversed(self.node.config.state.without_rest(sha256_hex(rest)).proven_rests):
            kept = await self.store.kept(fact.generation)
            if kept is not None:
                return changed_names(split_body(kept[1].body)[0], rest)
        return changed_names("", rest)

    async def _rest_of_sessions(self) -> str | None:
        """Return the rest that a new session has run with last, if an earlier daemon saw it."""
        state = self.node.config.state
        for fact in (state.applied, *reversed(state.proven_rests), state.last_known_good):
            kept = await self.store.kept(fact.generation) if fact and fact.in_full else None
            if kept is not None:
                return split_body(kept[1].body)[0]
        return None

    async def note_start(self) -> None:
        """Record the generation that Postgres, which has become ready, was started with."""
        node = self.node
        try:
            live, changed_at = await self.store.live(), await self.store.live_changed_at()
        except StoreError as error:
            logger.warning("%s", error)
            return
        written = node.config.written
        as_left = written if written is not None and written.is_in(live) else None
        found = node.start.came_up(as_left, changed_at)
        if found is not None:
            node.came_up(found)
            await self.store.save(node.config.state)
