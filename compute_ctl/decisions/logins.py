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
_INTERNAL: Final = "XX000"
"""Raised by anything: also by pageserver clients, and for libraries that cannot be loaded."""


def is_evidence(sqlstate: str | None, *, troubled: bool) -> bool:
    """Return whether a setting may be why a session was refused with *sqlstate* (FATAL).

    *troubled*: Postgres reports failing upstream servers, which may be the reason, too.
    """
    if sqlstate is None or sqlstate[:2] in _NO_EVIDENCE or sqlstate in _STORAGE:
        return False
    return not (troubled and sqlstate == _INTERNAL)


@dataclass(kw_only=True, slots=True)
class Logins:
    """The last result of a login, under the live generation and under the one before it."""

    generation: str | None = None
    """The marker in the file."""
    last: str | None = None
    """SQLSTATE of the last refusal, '' after a successful login; None: unknown."""
    before: str | None = None
    """`last` at the time when the live generation was written."""

    def written(self, marker: str) -> bool:
        """Record which generation is live; return whether it has changed."""
        if marker == self.generation:
            return False
        self.generation, self.before = marker, self.last
        return True

    def blames(self, sqlstate: str) -> bool:
        """Whether a refusal with *sqlstate* is new with this generation."""
        return self.before != sqlstate
