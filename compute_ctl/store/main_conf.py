"""The main configuration file of a Postgres that somebody else runs: where it is, what it includes.

Debian keeps it outside the data directory and names it on the server's command line, which
`postmaster.opts` records (it outlives a stopped server).
"""

from __future__ import annotations

import functools
import re
import shlex
from pathlib import Path

_INCLUDE = re.compile(r"\s*include(?:_if_exists)?(?:\s*=\s*|\s+)'((?:[^'\\\n]|''|\\.)*)'", re.I)


def main_file(pgdata: Path, config_file: Path | None = None) -> Path:
    """Return *config_file*, else the file on the server's command line, else the usual one."""
    if config_file is not None:
        return config_file
    try:
        options = (pgdata / "postmaster.opts").read_text(errors="surrogateescape")
    except OSError:
        options = ""
    named = config_file_option(options)
    # A relative name depends on a working directory that is not known any more.
    if named is not None and named.is_absolute():
        return named
    return pgdata / "postgresql.conf"


@functools.lru_cache(maxsize=1)
def config_file_option(options: str) -> Path | None:
    """Return the configuration file that a postmaster.opts names, None if it names none."""
    try:
        words = shlex.split(options)[1:]
    except ValueError:
        return None
    found = None
    previous = ""
    for word in words:
        setting = ""
        if previous == "-c":
            setting = word
        elif word.startswith(("--", "-c")):
            setting = word[2:]
        name, equals, value = setting.partition("=")
        if equals and name.replace("-", "_") == "config_file":
            found = Path(value)
        previous = word
    return found


def include_line(path: Path) -> str:
    """Return the line by which a main file includes *path*."""
    return f"include_if_exists = '{quote_path(path)}'"


def quote_path(path: Path) -> str:
    """Return *path* as it stands between single quotes in a configuration file."""
    return str(path).replace("\\", "\\\\").replace("'", "''")


def includes(text: str, path: Path, *, folder: Path) -> bool:
    """Return whether the main file *text*, which lies in *folder*, includes *path*."""
    if f"\n{include_line(path)}\n" in f"\n{text}\n":
        return True  # the usual case, kept fast as a heal waits for it
    for line in text.split("\n"):
        match = _INCLUDE.match(line)
        if match is None:
            continue
        named = re.sub(r"''|\\(.)", lambda part: part[1] or "'", match[1])
        if folder / named == path:
            return True
    return False
