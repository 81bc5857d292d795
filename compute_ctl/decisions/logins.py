"""Whether new sessions are let in, and whose fault it is where they are not. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

_NO_EVIDENCE: Final = ("08", "28", "3D", "40", "53", "57")
"""Classes of SQLSTATEs that say nothing against settings: connection, authentication, no such
database, a conflict, no resources (53300: too many connections), a server that stops or starts."""
_STORAGE: Final = frozenset({"58000", "58030", "XX001", "XX002"})
"""Errors of a disk or a pageserver."""
_INTERNAL: Final = "XX000"
"""Of anybody: also of pageserver clients, and of libraries that cannot be loaded."""


def is_evidence(sqlstate: str | None, *, troubled: bool) -> bool:
    """Return whether a session refused with *sqlstate* (FATAL) may be refused due to a setting.

    *troubled*: Postgres complains of the servers it depends on, which may be the reason too.
    """
    if sqlstate is None or sqlstate[:2] in _NO_EVIDENCE or sqlstate in _STORAGE:
        return False
    return not (troubled and sqlstate == _INTERNAL)


@dataclass(kw_only=True, slots=True)
class Logins:
    """What the last look at each generation has said of logins."""

    generation: str | None = None
    """The marker in the file."""
    last: str | None = None
    """SQLSTATE of the last refusal, '' where a session was let in; None: nothing is known."""
    before: str | None = None
    """The same when the present generation was written."""

    def written(self, marker: str) -> bool:
        """Note which generation the next logins are made under; return whether it is another."""
        if marker == self.generation:
            return False
        self.generation, self.before = marker, self.last
        return True

    def blames(self, sqlstate: str) -> bool:
        """Whether a refusal with *sqlstate* is new with this generation."""
        return self.before != sqlstate
