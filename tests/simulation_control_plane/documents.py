"""What the simulated daemon reads of a document, by the real daemon's own code."""

from __future__ import annotations

from functools import lru_cache
from types import SimpleNamespace

from compute_common.document.document import Document, decode_document
from compute_ctl.document.spec_sources import CONNSTRING, SAFEKEEPERS, pageservers, safekeepers

read = lru_cache(maxsize=64)(decode_document)
"""Decodes a document, once."""


@lru_cache(maxsize=64)
def shard_map(raw: bytes) -> tuple[str, ...]:
    """Return ``host:port`` of each shard."""
    found = pageservers(read(raw).spec)
    return tuple(url.rpartition("@")[2] for url in found.shards) if found else ()


def servers_of(document: Document) -> dict[str, str]:
    """Return the settings that name other servers."""
    found = pageservers(document.spec)
    return {
        CONNSTRING: ",".join(found.shards) if found else "",
        SAFEKEEPERS: safekeepers(document.spec) or "",
    }


def view(document: Document) -> SimpleNamespace:
    """Return what a report says of a document."""
    return SimpleNamespace(sha256=document.content_sha256, version=str(document.version))
