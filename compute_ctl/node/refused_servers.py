"""Remembers the refused document whose servers are in force, though its settings were refused.

A bad setting costs itself and never the heal, so its document's servers may be in force without it.
Whoever asks whether a compute has moved wants to know that.
"""

from __future__ import annotations

from dataclasses import dataclass

from compute_common.document.document import Document
from compute_common.document.versions import Version
from compute_ctl.decisions.model import Written


@dataclass(frozen=True, kw_only=True, slots=True)
class RefusedDocument:
    """The document that was refused last."""

    version: Version | None
    content_sha256: str
    upstream: str
    """Its servers, as the configuration file has them."""


class RefusedServers:
    """Remembers the document that was refused last."""

    def __init__(self) -> None:
        self._refused: RefusedDocument | None = None

    def note(self, document: Document, upstream: str) -> None:
        """Remember *document*, which is refused; *upstream*: what its servers render to."""
        self._refused = RefusedDocument(
            version=document.version, content_sha256=document.content_sha256, upstream=upstream
        )

    def in_force(self, written: Written | None) -> RefusedDocument | None:
        """Return it where Postgres runs with its servers; *written*: what is in the live file."""
        refused = self._refused
        if refused is None or written is None or not written.proven:
            return None
        return refused if refused.upstream == written.upstream else None
