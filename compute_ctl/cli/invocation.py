"""Command lines for hints: as this user has to type them, for this compute."""

from __future__ import annotations

import os
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from compute_ctl.cli.client import owner_of
from compute_ctl.cli.ending import PROGRAM

_COMMAND: Final = re.compile(rf'"{PROGRAM} (explain|refresh|rollback|status)\b([^"]*)"')
_PUSH: Final = "(POST /configure on the socket)"
_CURL: Final = (
    "curl --unix-socket {socket} -H 'Content-Type: application/json' --data-binary @FILE "
    "http://localhost/configure"
)
_AS_DATABASE_USER: Final = frozenset({"explain"})
"""Commands that log in to the server, where `peer` wants the owner of the data directory."""


@dataclass(frozen=True, kw_only=True)
class Invocation:
    """Which compute is meant, and who asks."""

    where: tuple[str, ...] = ()
    """Options that name it, for example -D and the data directory."""
    socket: str | None = None
    """The daemon's unix socket; None where it was reached otherwise."""
    owner: str | None = None
    """Owner of the data directory or the server's socket; None if unknown or if that is us."""

    @classmethod
    def of(cls, path: Path | None, where: tuple[str, ...], socket: str | None = None) -> Invocation:
        """Return the one for the compute that *path* belongs to."""
        if path is None:
            return cls(where=where, socket=socket)
        found = owner_of(path)
        mine = found is None or found[0] == os.geteuid()
        return cls(where=where, socket=socket, owner=None if mine or found is None else found[1])

    def line(self, *words: str) -> str:
        """Return the command line of *words*, run as the owner where it logs in to the server."""
        inner = shlex.join((PROGRAM, *words, *self.where))
        if self.owner is None or words[0] not in _AS_DATABASE_USER:
            return inner
        if os.geteuid() == 0:
            return f"su {shlex.quote(self.owner)} -c {shlex.quote(inner)}"
        return f"sudo -u {shlex.quote(self.owner)} {inner}"

    def complete(self, hint: str) -> str:
        """Return *hint* with the commands it quotes as they have to be typed here."""
        if self.socket is not None:
            hint = hint.replace(_PUSH, f"({_CURL.format(socket=shlex.quote(self.socket))})")
        return _COMMAND.sub(lambda found: f'"{self.line(found[1], *shlex.split(found[2]))}"', hint)
