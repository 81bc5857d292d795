"""Shows the warnings about a document: once in the log, and in the status until the next one."""

from __future__ import annotations

import logging
from contextlib import suppress

from compute_ctl.document import lint
from compute_ctl.document.render import RenderContext, render
from compute_ctl.document.spec import Document
from compute_ctl.errors import SpecError
from compute_ctl.node import Node
from compute_ctl.system.blocking_worker import beside_loop

logger = logging.getLogger(__name__)


class Remarks:
    """The warnings about the documents of one node."""

    def __init__(self, *, node: Node, context: RenderContext) -> None:
        self._node = node
        self._context = context
        self._content = ""
        """Hash of the document looked at last."""

    async def look(self, document: Document) -> None:
        """Warn of what is odd in *document*; what the last one had too is no news."""
        if document.content_sha256 == self._content:
            return
        self._content = document.content_sha256
        found: tuple[str, ...] = ()
        with suppress(SpecError):  # not in time
            found = await beside_loop(
                lambda: self._warnings(document), size=len(document.json), name="warnings"
            )
        for warning in found:
            if warning not in self._node.document_warnings:
                logger.warning("the document: %s", warning)
        self._node.document_warnings = found

    def _warnings(self, document: Document) -> tuple[str, ...]:
        try:
            rendered = render(document, self._context).warnings
        except SpecError:  # it was refused, with the reason
            rendered = ()
        return (*rendered, *lint.warnings(document))
