"""`publish` and `set`: give the daemon a newer document, and tell what became of it.

They replace the file that the daemon reads (`-c`), as a whole, and wait for a refresh.
"""

from __future__ import annotations

import fcntl
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import click
import msgspec

from compute_common.cli.exit_codes import EXIT_FAILED, EXIT_USAGE, CommandError
from compute_common.cli.output import as_json, unified_diff
from compute_common.cli.settings_words import parse_settings
from compute_common.document.document import MAX_DOCUMENT_BYTES, Document, decode_document
from compute_common.document.edit import with_generation, with_setting
from compute_common.errors import SpecError
from compute_common.redact import redact, redact_document
from compute_common.system.atomic_file import ReplacedFile, read_regular
from compute_ctl.cli.asking import (
    DEFAULT_WAIT,
    ask_daemon,
    find,
    read_body,
    request_refresh,
    seconds,
    target_options,
)
from compute_ctl.cli.client import Target
from compute_ctl.cli.exit_codes import EPILOG, print_warning
from compute_ctl.cli.local import permission_error, read_document
from compute_ctl.decisions.status import StatusBody
from compute_ctl.document import lint

MAX_FILE_BYTES: Final = 4 * MAX_DOCUMENT_BYTES
"""What is no document can be replaced, too."""
NO_FILE: Final = "this daemon gets its documents from a control plane"
USE_CONTROL_PLANE: Final = "Publish there: compute_control_plane put, or set."

_yes_option = click.option("--yes", is_flag=True, help="Do not ask.")
_wait_option = click.option(
    "--wait", default=DEFAULT_WAIT, metavar="SECONDS", help=f"For the outcome ({DEFAULT_WAIT} s)."
)


@click.command(epilog=EPILOG, short_help="Replace the document by the one in FILE.")
@target_options
@as_json
@_yes_option
@_wait_option
@click.argument("file", type=click.Path(), callback=read_document)
def publish(as_json: bool, yes: bool, wait: str, file: tuple[str, bytes], **where: Any) -> int:
    """Replace the document that the daemon reads by the one in FILE (- for stdin).

    Its generation is raised above that of the document before, where it is not above it already.
    Shows what changes and asks; then waits for the outcome, as `refresh --wait` does.
    """
    target, wait_s = find(**where), seconds(wait)
    path = _document_file(target)
    name, raw = file
    return _replace(path, _read(path), raw, name, target, yes=yes, wait_s=wait_s, as_json=as_json)


@click.command("set", epilog=EPILOG, short_help="Set settings in the document.")
@target_options
@as_json
@_yes_option
@_wait_option
@click.option("--remove", metavar="NAME", multiple=True, help="Remove this setting.")
@click.argument("settings", metavar="NAME=VALUE...", nargs=-1)
def set_settings(
    as_json: bool,
    yes: bool,
    wait: str,
    remove: tuple[str, ...],
    settings: tuple[str, ...],
    **where: Any,
) -> int:
    """Set settings in the document that the daemon reads, all in one generation.

    Shows what changes and asks; then waits for the outcome, as `refresh --wait` does.
    """
    values = parse_settings(settings, remove)
    if not values:
        raise click.UsageError("name at least one setting, as NAME=VALUE or --remove NAME")
    target, wait_s = find(**where), seconds(wait)
    path = _document_file(target)
    old = _read(path)
    if old is None:
        raise CommandError(
            EXIT_USAGE, f'there is no document yet: "{path}"', hint="Publish one first."
        )
    _decoded(old, str(path))
    raw = old
    try:
        for name, new in values.items():
            raw = with_setting(raw, name, new)
    except SpecError as error:
        raise CommandError(EXIT_FAILED, str(error), hint=error.hint) from error
    return _replace(path, old, raw, str(path), target, yes=yes, wait_s=wait_s, as_json=as_json)


def _replace(
    path: Path,
    old: bytes | None,
    raw: bytes,
    name: str,
    target: Target,
    *,
    yes: bool,
    wait_s: float,
    as_json: bool,
) -> int:
    """Put *raw*, read from *name*, in the place of *old* at *path*; return the exit status."""
    new = _decoded(raw, name)
    before = None if old is None else _try_decode(old)
    if before is None or before.content_sha256 != new.content_sha256:
        text = with_generation(raw, _generation(new, before))
        _decoded(text, name)  # the layout makes it longer, and a generation has an end
        for warning in lint.warnings(new):
            print_warning(warning)
        if not yes:
            _confirm(old, text, path)
        _write(path, old, text, target)
    return request_refresh(target, wait_s=wait_s, as_json=as_json)


def _document_file(target: Target) -> Path:
    """Return the file that the daemon reads. Raises CommandError."""
    answer = ask_daemon(target, "GET", "/status", required=("status", "config"))
    file = read_body(answer, StatusBody).config.document_file
    if file is None:
        raise CommandError(EXIT_USAGE, NO_FILE, hint=USE_CONTROL_PLANE)
    return Path(file)


def _generation(new: Document, before: Document | None) -> int:
    """Return the generation of *new* that makes it newer than *before*."""
    wanted = new.version.generation if new.version else None
    known = before.version.generation if before and before.version else None
    return max(wanted or 1, (known or 0) + 1)


def _decoded(raw: bytes, name: str) -> Document:
    try:
        return decode_document(raw)
    except SpecError as error:
        raise CommandError(EXIT_FAILED, f"{name}: {error}", hint=error.hint) from error


def _try_decode(raw: bytes) -> Document | None:
    """Return the document in *raw*, None where it is none: that is what is being mended."""
    try:
        return decode_document(raw)
    except SpecError:
        return None


def _confirm(old: bytes | None, new: bytes, path: Path) -> None:
    """Show what changes, and ask. Raises click.Abort, and UsageError where nobody can be asked."""
    if not sys.stdin.isatty():
        raise click.UsageError("--yes is missing, and nobody can be asked")
    texts = [_shown(raw) for raw in (old or b"", new)]
    click.echo(unified_diff(*texts, old_name=str(path), new_name="new"), nl=False, err=True)
    click.confirm(f'Replace "{path}"?', abort=True, err=True)


def _shown(raw: bytes) -> str:
    """Return *raw* without secrets, indented if it is JSON."""
    with suppress(ValueError, RecursionError):
        shown = redact_document(msgspec.json.decode(raw))
        raw = msgspec.json.format(msgspec.json.encode(shown), indent=2)
    return redact(raw.decode(errors="replace")).rstrip("\n") + "\n"


def _read(path: Path) -> bytes | None:
    """Return the content of *path*, None where there is none. Raises CommandError."""
    try:
        return read_regular(path, max_bytes=MAX_FILE_BYTES)
    except FileNotFoundError:
        return None
    except PermissionError as error:
        raise permission_error(path) from error
    except OSError as error:
        raise CommandError(
            EXIT_FAILED, f'could not read "{path}": {error.strerror or error}'
        ) from error


def _changed(path: Path) -> CommandError:
    return CommandError(EXIT_FAILED, f'"{path}" has changed meanwhile', hint="Look, and try again.")


@contextmanager
def _only_writer(folder: Path) -> Iterator[None]:
    """Keep other commands from replacing files in *folder*. Raises BlockingIOError: one does."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(fd)


def _write(path: Path, old: bytes | None, new: bytes, target: Target) -> None:
    """Replace *path*, which held *old* when it was read. Raises CommandError."""
    file = ReplacedFile(path, keep_owner=True)
    try:
        with _only_writer(file.target.parent):
            if _read(path) != old:
                raise _changed(path)
            file.replace(new)
            if old is None and target.socket is not None and os.geteuid() == 0:
                owner = target.socket.stat()
                os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)
            file.sync()
    except BlockingIOError as error:
        raise _changed(path) from error
    except PermissionError as error:
        raise permission_error(path) from error
    except OSError as error:
        raise CommandError(EXIT_FAILED, f'could not write "{path}": {error.strerror}') from error
