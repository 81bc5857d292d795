"""Checks the files that a configuration makes the postmaster read: they must be regular.

A reload opens them in the postmaster. Opening a FIFO without a writer never returns: the server
then accepts no connection and no further reload, not even the one that would heal it.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from compute_common.errors import SpecError
from compute_common.system.atomic_file import read_regular
from compute_common.text import printable
from compute_ctl.document.quoting import DIRECTIVES, Line, settings_in
from compute_ctl.document.render import forbidden_settings

MAX_DEPTH: Final = 10
"""Of includes in includes, as in the server."""
MAX_FILES: Final = 1000
MAX_BYTES: Final = 1024 * 1024
FILE_SETTINGS: Final = frozenset(
    {"hba_file", "ident_file", "external_pid_file"}
    | {"ssl_cert_file", "ssl_key_file", "ssl_ca_file", "ssl_crl_file", "ssl_dh_params_file"}
)
"""Settings that name a file which the postmaster itself opens."""
_KINDS: Final = {
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a character device",
    stat.S_IFBLK: "a block device",
    stat.S_IFDIR: "a directory",
}


def check_referenced_files(body: str, *, folder: Path, pgdata: Path, attach: bool) -> None:
    """Refuse a *body* that names an existing file that is not regular.

    It is also refused if it includes a file that sets what a document may not set. *folder* holds
    the configuration file. Missing files are left to the server.

    Raises:
        SpecError: it does.
    """
    left = MAX_FILES
    forbidden = forbidden_settings(attach=attach)
    for name, line, path in _named(body, folder, pgdata, MAX_DEPTH, forbidden):
        left -= 1
        field = "spec.cluster.postgresql_conf" if name in DIRECTIVES else "spec.cluster.settings"
        if left < 0:
            raise SpecError(field, f"includes more than {MAX_FILES} files")
        with suppress(OSError):  # missing, or not visible to us
            mode = path.stat().st_mode
            if not stat.S_ISREG(mode):
                kind = _KINDS.get(stat.S_IFMT(mode), "something else")
                where = f" (line {line})" if line and name in DIRECTIVES else ""
                raise SpecError(
                    field,
                    f'"{name}"{where} names "{printable(str(path), 200)}", '
                    f"which is {kind} and no regular file",
                )


def _named(
    text: str, folder: Path, pgdata: Path, depth: int, forbidden: frozenset[str]
) -> Iterator[tuple[str, int | None, Path]]:
    """Yield name, line and path of each file that *text* names, and of those named in them."""
    for line in _lines(text):
        name = line.name.lower()
        if name in FILE_SETTINGS and line.value:
            yield name, None, pgdata / line.value
        if name not in DIRECTIVES:
            continue
        path = folder / line.value
        for file in _in_folder(path) if name == "include_dir" else [path]:
            yield name, line.number, file
            for inner, _, named in _inside(file, pgdata, depth, forbidden):
                yield inner, line.number, named


def _inside(
    file: Path, pgdata: Path, depth: int, forbidden: frozenset[str]
) -> Iterator[tuple[str, int | None, Path]]:
    if depth <= 0:
        return
    try:
        if file.stat().st_size > MAX_BYTES:
            raise _refusal(file, f"is larger than {MAX_BYTES} bytes")
        text = read_regular(file, max_bytes=MAX_BYTES).decode(errors="replace")
    except OSError:
        return
    for line in _lines(text):
        if line.name.lower() in forbidden:
            raise _refusal(file, f'sets "{line.name.lower()}", which a document cannot set')
    yield from _named(text, file.parent, pgdata, depth - 1, forbidden)


def _refusal(file: Path, what: str) -> SpecError:
    path = "spec.cluster.postgresql_conf"
    return SpecError(path, f'included file "{printable(str(file), 200)}" {what}')


def _lines(text: str) -> Iterator[Line]:
    """Yield the lines up to the first that the server cannot read either."""
    with suppress(SpecError):
        yield from settings_in(text, "")


def _in_folder(folder: Path) -> list[Path]:
    """Return the files that include_dir takes from *folder*."""
    try:
        paths = sorted(folder.iterdir())
    except OSError:
        return []
    taken = (path for path in paths if path.name.endswith(".conf") and path.name[0] != ".")
    return [path for path in taken if not path.is_dir()]
