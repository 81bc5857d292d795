"""Whether a refused login is evidence against the configuration. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

SLOW_LOGIN_MS: Final = 1000.0
"""A login that takes longer is reported as slow."""
_NO_EVIDENCE: Final = ("08", "28", "3D", "40", "53", "57")
"""SQLSTATE classes that do not implicate settings: connection, authentication, no such database,
a conflict, no resources (53300: too many connections), a server that stops or starts."""
_STORAGE: Final = frozenset({"58000", "58030", "XX001", "XX002"})
"""Errors of a disk or a pageserver."""
LOST: Final = "lost"
"""In place of a SQLSTATE: the connection ended during the login, without a message.

So does that of a session which crashes, for example in a library that it preloads.
"""
LOST_LOGINS: Final = 2
"""So many in a row are evidence: one may be lost with a server that somebody else stops."""
_INTERNAL: Final = "XX000"
"""Raised by anything: also by pageserver clients, and for libraries that cannot be loaded."""


def is_evidence(sqlstate: str | None, *, troubled: bool) -> bool:
    """Return whether a setting may be why a session was refused with *sqlstate* (FATAL).

    *troubled*: Postgres reports failing upstream servers, which may be the reason, too.
    """
    if sqlstate is None or sqlstate[:2] in _NO_EVIDENCE or sqlstate in _STORAGE:
        return False
    return not (troubled and sqlstate in (_INTERNAL, LOST))


@dataclass(kw_only=True, slots=True)
class Logins:
    """The last result of a login, under the live generation and under the one before it."""

    generation: str | None = None
    """The marker in the file."""
    last: str | None = None
    """SQLSTATE of the last refusal, '' after a successful login; None: unknown."""
    before: str | None = None
    """`last` at the time when the live generation was written."""
    lost: int = 0
    """Logins lost under the live generation, one after the other."""

    def written(self, marker: str) -> bool:
        """Record which generation is live; return whether it has changed."""
        if marker == self.generation:
            return False
        self.generation, self.before, self.lost = marker, self.last, 0
        return True

    def refused(self, sqlstate: str | None, *, earlier: str | None) -> bool:
        """Record a refusal; return whether it confirms an *earlier* one of the same look.

        A session that crashes takes the whole server down for a while, so the one before it was
        lost in another look.
        """
        if sqlstate != LOST:
            return earlier == sqlstate
        self.lost += 1
        return self.lost >= LOST_LOGINS

    def blames(self, sqlstate: str) -> bool:
        """Whether a refusal with *sqlstate* is new with this generation."""
        return self.before != sqlstate
