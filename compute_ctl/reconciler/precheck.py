"""Checks a document before it is written, and warns of what is odd in it.

Only the server can judge its values. Its binary can always be asked, and takes some ten
milliseconds to start. The running server can be asked at once about values that any session may
set. It is asked first, and only its consent counts: what it does not accept, or cannot be asked
about, is left to the binary.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import Final

from compute_common.document.document import Document
from compute_common.errors import SpecError
from compute_common.system.blocking_worker import beside_loop
from compute_ctl.decisions.apply_plan import reasons
from compute_ctl.decisions.proof import Complaint
from compute_ctl.decisions.trial import settings_to_try
from compute_ctl.document import lint
from compute_ctl.document.render import RenderContext, Rendered, render
from compute_ctl.node import Node
from compute_ctl.ports import SettingsTrial
from compute_ctl.reconciler.budget import share
from compute_ctl.reconciler.generations import GenerationStore

logger = logging.getLogger(__name__)

TRIAL_S: Final = 0.05
"""For the running server to answer; the binary is asked after that."""


class Precheck:
    """Checks the documents of one node."""

    def __init__(
        self,
        *,
        node: Node,
        store: GenerationStore,
        context: RenderContext,
        trial: SettingsTrial | None = None,
    ) -> None:
        """*trial*: where the running server can be asked about new values."""
        self._node = node
        self._store = store
        self._context = context
        self._trial = trial
        self._warned_of = ""
        """Content hash of the document that `warn` was called with last."""

    async def warn(self, document: Document) -> None:
        """Show the warnings about *document*, and log those that are new."""
        if document.content_sha256 == self._warned_of:
            return
        self._warned_of = document.content_sha256
        found: tuple[str, ...] = ()
        with suppress(SpecError):  # not in time
            found = await beside_loop(
                lambda: self._warnings(document), size=len(document.json), name="warnings"
            )
        for warning in self._node.config.warn_of_document(found):
            logger.warning("the document: %s", warning)

    def _warnings(self, document: Document) -> tuple[str, ...]:
        try:
            rendered = render(document, self._context).warnings
        except SpecError:  # it was refused, with the reason
            rendered = ()
        return (*rendered, *lint.warnings(document))

    def has_rest(self, rendered: Rendered) -> bool:
        """Whether all of *rendered* but the servers is in the file already."""
        return (
            self._node.config.written is not None
            and self._node.config.written.rest == rendered.rest
        )

    async def complaints(self, rendered: Rendered) -> tuple[Complaint, ...]:
        """Return what is wrong, unless only the upstream has changed: that is urgent."""
        if self.has_rest(rendered) or await self._accepted(rendered):
            return ()
        found = await self._store.check(rendered.body)
        for complaint in found:
            if complaint.file != self._store.path:
                logger.warning("an error outside the daemon's file: %s", reasons((complaint,)))
        return tuple(complaint for complaint in found if complaint.file == self._store.path)

    async def _accepted(self, rendered: Rendered) -> bool:
        """Whether the running server takes all in which *rendered* differs from what it runs."""
        written = self._node.config.written
        if (
            self._trial is None
            or written is None
            or not written.in_full
            or written.upstream != rendered.upstream  # a heal is not to wait for SQL
            or self._pages_wait
        ):
            return False
        rest = written.rest
        settings = await beside_loop(
            lambda: settings_to_try(rest, rendered.rest), size=len(rendered.rest), name="trial"
        )
        if settings is None:
            return False
        return not settings or await self._trial.accepts(settings, within_s=share(TRIAL_S))

    @property
    def _pages_wait(self) -> bool:
        """Whether Postgres reports trouble with its servers, which SQL may wait for.

        A bare request, as Neon's library sends, reports none.
        """
        requests = self._node.requests
        return requests.worker_complains and requests.suspicion is not None
