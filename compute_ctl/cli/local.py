"""What commands read on this machine: data directories, document files, who owns a path.

`os.stat` is used instead of `Path.exists` and its kin: those hide, or raise, a refused permission
depending on the version of Python.
"""

from __future__ import annotations

import os
import pwd
import re
import shlex
import stat
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click
import msgspec

from compute_common.cli.exit_codes import (
    EXIT_FAILED,
    EXIT_NOT_PERMITTED,
    EXIT_UNREACHABLE,
    EXIT_USAGE,
    CommandError,
)
from compute_common.document.document import decode_document
from compute_common.errors import SpecError
from compute_ctl.cli.exit_codes import PROGRAM

_COMMAND: Final = re.compile(rf'"{PROGRAM} (explain|promote|refresh|rollback|status)\b([^"]*)"')
_PUSH: Final = "(POST /configure on the socket)"
_CURL: Final = (
    "curl --unix-socket {socket} -H 'Content-Type: application/json' --data-binary @FILE "
    "http://localhost/configure"
)
_SQL_COMMANDS: Final = frozenset({"explain"})
"""Commands that log in to the server, where `peer` wants the owner of the data directory."""


def require_data_directory(path: Path) -> None:
    """Raise CommandError unless *path* is a readable directory."""
    error = data_directory_error(path, EXIT_USAGE)
    if error is not None:
        raise error


def data_directory_error(pgdata: Path, exit_code: int) -> CommandError | None:
    """Return the error for a *pgdata* that is no directory, with *exit_code*; None if it is one.

    Where permission is refused, the exit code is 4.
    """
    try:
        if stat.S_ISDIR(os.stat(pgdata).st_mode):  # noqa: PTH116 -- see the top
            return None
        problem = "is not a directory"
    except PermissionError:
        return permission_error(pgdata)
    except OSError:
        problem = "does not exist"
    hint = "Is -D (or $PGDATA) right?"
    return CommandError(exit_code, f'data directory "{pgdata}" {problem}', hint=hint)


def is_attached(pgdata: Path) -> bool:
    """Return whether a data directory has the configuration file of an attached daemon.

    Raises:
        CommandError: permission was refused.
    """
    try:
        os.stat(pgdata / "compute_ctl.conf")  # noqa: PTH116 -- see the top
    except PermissionError as error:
        raise permission_error(pgdata) from error
    except OSError:
        return False
    return True


def server_conninfo(pgdata: str | None) -> str:
    """Return the connection string for the server that runs in *pgdata*; libpq's defaults if None.

    Raises:
        CommandError: no server runs there.
    """
    if not pgdata:
        return "dbname=postgres"
    try:
        lines = (Path(pgdata) / "postmaster.pid").read_text(errors="replace").splitlines()
        port, folder, address = int(lines[3]), lines[4], lines[5]
    except PermissionError as error:
        raise permission_error(Path(pgdata)) from error
    except (OSError, IndexError, ValueError) as error:
        missing = data_directory_error(Path(pgdata), EXIT_UNREACHABLE)
        raise missing or CommandError(
            EXIT_UNREACHABLE, f'no server runs in "{pgdata}"', hint="Start it, or name it with -C."
        ) from error
    host = folder or ("localhost" if address in ("*", "") else address)
    quoted = host.replace("\\", "\\\\").replace("'", "\\'")
    return f"host='{quoted}' port={port} dbname=postgres"


def read_document(
    context: click.Context, parameter: click.Parameter, value: str | None
) -> tuple[str, bytes] | None:
    """Return name, for messages, and content of the file *value* (- for stdin). A click callback.

    Raises:
        CommandError: it cannot be read.
    """
    del context, parameter
    if value is None:
        return None
    if value == "-":
        return "standard input", sys.stdin.buffer.read()
    path = Path(value)
    try:
        return value, path.read_bytes()
    except PermissionError as error:
        raise permission_error(path) from error
    except OSError as error:
        raise CommandError(EXIT_USAGE, f'could not read "{path}": {error.strerror}') from error


def document_parts(name: str, raw: bytes) -> dict[str, Any]:
    """Return the members of the document *raw* that mean something. Raises CommandError."""
    try:
        decode_document(raw)
    except SpecError as error:
        raise CommandError(EXIT_FAILED, f"{name}: {error}", hint=error.hint) from error
    whole = msgspec.json.decode(raw)
    return {part: whole[part] for part in ("spec", "compute_ctl_config") if whole.get(part)}


def permission_error(path: Path) -> CommandError:
    """Return the error for a *path* that this user may not read."""
    return CommandError(EXIT_NOT_PERMITTED, f'may not read "{path}"', hint=permission_hint(path))


def permission_hint(path: Path) -> str:
    """Return a hint that names a user who may use *path*."""
    owner = owner_of(path)
    name = owner[1] if owner else "its owner"
    return "Run this as root." if name == "root" else f"Run this as root or as {name}."


def owner_of(path: Path) -> tuple[int, str] | None:
    """Return user ID and name of the owner of *path*, or of its nearest parent that can be seen."""
    for candidate in (path, *path.parents):
        try:
            uid = os.stat(candidate).st_uid  # noqa: PTH116 -- see the top
        except OSError:
            continue
        try:
            return uid, pwd.getpwuid(uid).pw_name
        except KeyError:
            return uid, f"user ID {uid}"
    return None


@dataclass(frozen=True, kw_only=True)
class Invocation:
    """How this user has to type commands for this compute; completes the commands in hints."""

    where: tuple[str, ...] = ()
    """Options that name the compute, for example -D and the data directory."""
    socket: str | None = None
    """The daemon's unix socket; None where it was reached otherwise."""
    owner: str | None = None
    """Owner of the data directory or the server's socket; None if unknown or the current user."""

    @classmethod
    def of(cls, path: Path | None, where: tuple[str, ...], socket: str | None = None) -> Invocation:
        """Return the one for the compute that *path* belongs to."""
        owner = owner_of(path) if path is not None else None
        if owner is None or owner[0] == os.geteuid():
            return cls(where=where, socket=socket)
        return cls(where=where, socket=socket, owner=owner[1])

    def line(self, *words: str) -> str:
        """Return the command line of *words*, run as the owner where it logs in to the server."""
        inner = shlex.join((PROGRAM, *words, *self.where))
        if self.owner is None or words[0] not in _SQL_COMMANDS:
            return inner
        if os.geteuid() == 0:
            return f"su {shlex.quote(self.owner)} -c {shlex.quote(inner)}"
        return f"sudo -u {shlex.quote(self.owner)} {inner}"

    def complete(self, hint: str) -> str:
        """Return *hint* with its commands as they have to be typed here."""
        if self.socket is not None:
            hint = hint.replace(_PUSH, f"({_CURL.format(socket=shlex.quote(self.socket))})")
        return _COMMAND.sub(lambda found: f'"{self.line(found[1], *shlex.split(found[2]))}"', hint)
