"""Versions of documents: which of two is newer, and whether two are equal. Pure.

A document's version is `spec.generation` (integer), else `spec.timestamp` (RFC 3339), else none;
the kinds do not compare.
"""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

import msgspec

from compute_common.errors import SpecError


class Version(msgspec.Struct, frozen=True, kw_only=True):
    """The version of a document; exactly one of the two is set."""

    generation: int | None = None
    timestamp: datetime | None = None

    def __str__(self) -> str:
        return str(self.generation if self.timestamp is None else self.timestamp.isoformat())

    @classmethod
    def parse(cls, text: str) -> Version | None:
        """Parse what `str` returns for a version; None if *text* is something else."""
        if text.isascii() and text.isdigit() and len(text) < 20:
            return cls(generation=int(text))
        try:
            found = datetime.fromisoformat(text)
        except ValueError:
            return None
        return None if found.tzinfo is None else cls(timestamp=found)


class Versioned(Protocol):
    """The fields of a spec that give its version."""

    @property
    def generation(self) -> int | None:
        """A number that counts up, or None."""

    @property
    def timestamp(self) -> str | None:
        """RFC 3339, or None."""


def version_of(spec: Versioned) -> Version | None:
    """Return the version that *spec* carries, None for an unversioned one.

    Raises:
        SpecError: the timestamp is no RFC 3339 date and time with an offset.
    """
    timestamp = None if spec.timestamp is None else _timestamp(spec.timestamp)
    if spec.generation is not None:
        return Version(generation=spec.generation)
    return None if timestamp is None else Version(timestamp=timestamp)


def _timestamp(text: str) -> datetime:
    try:
        parsed = msgspec.convert(text, datetime)
    except msgspec.ValidationError:
        parsed = None
    if parsed is None or parsed.tzinfo is None:
        raise SpecError(
            "spec.timestamp", f'expected an RFC 3339 time with an offset, got "{text[:60]}"'
        )
    return parsed


def is_older(version: Version | None, floor: Version | None) -> bool:
    """Return whether *version* is known to be older than *floor*; other kinds do not compare."""
    if version is None or floor is None:
        return False
    if version.generation is not None and floor.generation is not None:
        return version.generation < floor.generation
    if version.timestamp is not None and floor.timestamp is not None:
        return version.timestamp < floor.timestamp
    return False


def raise_floor(floor: Version | None, version: Version | None) -> Version | None:
    """Return the floor after *version* was taken: never lower than *floor*.

    An unversioned document leaves the floor alone. Unlike kinds do not compare: a generation takes
    the place of a timestamp, since a source may begin to count, never the other way round.
    """
    if version is None or is_older(version, floor):
        return floor
    if floor is not None and floor.generation is not None and version.generation is None:
        return floor
    return version
