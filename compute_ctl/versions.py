"""Which of two documents is newer, and whether two say the same. Pure.

A document's version is `spec.generation` (integer), else `spec.timestamp` (RFC 3339), else none;
the kinds do not compare.
"""

from __future__ import annotations

from datetime import datetime

import msgspec


class Version(msgspec.Struct, frozen=True, kw_only=True):
    """The version of a document; exactly one of the two is set."""

    generation: int | None = None
    timestamp: datetime | None = None

    def __str__(self) -> str:
        return str(self.generation if self.timestamp is None else self.timestamp.isoformat())


def is_older(version: Version | None, floor: Version | None) -> bool:
    """Return whether *version* is known to be older than *floor*; unlike kinds never are."""
    if version is None or floor is None:
        return False
    if version.generation is not None and floor.generation is not None:
        return version.generation < floor.generation
    if version.timestamp is not None and floor.timestamp is not None:
        return version.timestamp < floor.timestamp
    return False
