"""Generations of the configuration file, and the marker by which Postgres proves one. Pure.

The live file is the journal of the daemon: its last line sets `neon_refresh.config_generation` to
the marker ``G.nonce.hash``. G is the generation number; the nonce makes an acknowledgement
unforgeable for whoever cannot read the superuser-only setting; the hash is the SHA-256 of the body
(all lines before the marker line), so that a hand-edited or torn file is recognised. A comment
behind the marker names the version below which no document was to be taken, if all else is lost.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Final

from compute_common.document.versions import Version

MARKER_SETTING: Final = "neon_refresh.config_generation"
_MARKER = re.compile(r"([1-9][0-9]{0,17})\.([0-9a-f]{32})\.([0-9a-f]{64})")
_MARKER_LINE = re.compile(rf"{re.escape(MARKER_SETTING)} = '([^'\n]*)'(?: # floor ([^\n]*))?\n\Z")


def sha256_hex(text: str) -> str:
    """SHA-256 of the UTF-8 bytes of *text*, 64 lower-case hex digits."""
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, kw_only=True, slots=True)
class Marker:
    """The identity of one generation, as Postgres publishes and acknowledges it."""

    generation: int
    """Counts up from 1; never reused in one state folder."""
    nonce: str
    """128 random bits as 32 hex digits."""
    body_sha256: str
    """Hash of the file's body, 64 hex digits."""

    def __str__(self) -> str:
        return f"{self.generation}.{self.nonce}.{self.body_sha256}"

    @classmethod
    def parse(cls, text: str) -> Marker | None:
        """Return the marker in *text*, or None where it is not exactly one."""
        match = _MARKER.fullmatch(text)
        if match is None:
            return None
        return cls(generation=int(match[1]), nonce=match[2], body_sha256=match[3])

    @classmethod
    def of(cls, *, generation: int, nonce: str, body: str) -> Marker:
        """Return the marker of *body* as generation number *generation*."""
        return cls(generation=generation, nonce=nonce, body_sha256=sha256_hex(body))


def file_text(body: str, marker: Marker, floor: Version | None = None) -> str:
    """Return the whole configuration file: *body* (ends in a newline) and the marker line."""
    known = f" # floor {floor}" if floor else ""
    return f"{body}{MARKER_SETTING} = '{marker}'{known}\n"


@dataclass(frozen=True, kw_only=True, slots=True)
class LiveFile:
    """A configuration file as found on disk."""

    marker: Marker | None
    """None if the file was not written by us, or is truncated."""
    body: str
    floor: Version | None = None
    """No document older than this was to be taken when it was written."""

    @property
    def intact(self) -> bool:
        """Whether the body is the one its marker was made for."""
        return self.marker is not None and self.marker.body_sha256 == sha256_hex(self.body)

    @classmethod
    def parse(cls, text: str) -> LiveFile:
        """Split *text* into body and marker."""
        match = _MARKER_LINE.search(text)
        if match is None:
            return cls(marker=None, body=text)
        return cls(
            marker=Marker.parse(match[1]),
            body=text[: match.start()],
            floor=Version.parse(match[2] or ""),
        )


def map_sha256(marker: Marker, *, stripe_size: int, shards: tuple[str, ...]) -> str:
    """Return the hash by which Postgres's worker names the shard map it published.

    SHA-256 over marker, stripe size (decimal, in pages) and the connection strings joined by
    commas, one a line, without a final newline. *shards* is as written into the file.
    """
    return sha256_hex(f"{marker}\n{stripe_size}\n{','.join(shards)}")
