"""What the simulated server thinks of a configuration file. Pure.

A small model of the real one: a bad value is skipped while the server runs and kills its start; an
unknown bare name, or a line that cannot be read, makes it refuse the whole file; some settings need
a restart. There is no certificate, so a server with TLS on does not start; a running one only logs
that it did not reload it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

CONNSTRING: Final = "neon.pageserver_connstring"
STRIPE: Final = "neon.stripe_size"
MARKER: Final = "neon_refresh.config_generation"
RESTART_ONLY: Final = frozenset({"shared_buffers", "shared_preload_libraries"})
DEFAULTS: Final = {"shared_buffers": "128MB", "shared_preload_libraries": "neon_refresh"}
"""What restart-only settings have without a line."""
SESSION_LIBRARIES: Final = "session_preload_libraries"
TLS: Final = "ssl"
KNOWN: Final = RESTART_ONLY | {"work_mem", "log_min_duration_statement", SESSION_LIBRARIES, TLS}
_LINE = re.compile(r"([A-Za-z_][\w.]*) = '((?:[^'\\]|''|\\\\)*)'(?: #.*)?")
_MEMORY = re.compile(r"\d{1,6}(kB|MB|GB)")


@dataclass(frozen=True, slots=True)
class Row:
    """A line that sets something, or one that cannot be read (no name)."""

    line: int
    name: str | None
    value: str
    error: str | None

    @property
    def refuses_all(self) -> bool:
        """Whether the server takes nothing at all because of it."""
        return self.error is not None and (self.name is None or self.error.startswith("unrec"))


@lru_cache(maxsize=64)
def rows(text: str) -> tuple[Row, ...]:
    """Return what *text* sets, in order."""
    found = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line or line.startswith("#"):
            continue
        match = _LINE.fullmatch(line)
        if match is None:
            found.append(Row(number, None, "", "syntax error"))
            continue
        name = match[1].lower()
        value = match[2].replace("''", "'").replace("\\\\", "\\")
        found.append(Row(number, name, value, _error(name, value)))
    return tuple(found)


def _error(name: str, value: str) -> str | None:
    if "." not in name and name not in KNOWN:
        return "unrecognized configuration parameter"
    if name in ("work_mem", "shared_buffers") and not _MEMORY.fullmatch(value):
        return f'invalid value for parameter "{name}": "{value}"'
    if name == CONNSTRING and "refused" in value:
        return f'invalid value for parameter "{name}"'
    return None


def complaints(text: str) -> list[tuple[str | None, str, int]]:
    """Return (name, reason, line) of all that is wrong with *text*."""
    return [(row.name, row.error, row.line) for row in rows(text) if row.error is not None]


def startable(text: str) -> bool:
    """Whether a server starts with *text*: nothing in error, libraries and certificate exist."""
    found = values(text)
    libraries = found.get("shared_preload_libraries", "")
    well = "nolib" not in libraries and not hangs(found) and not lacks_certificate(found)
    return not complaints(text) and well


def values(text: str) -> dict[str, str]:
    """Return what *text* sets, without what is in error."""
    return {row.name: row.value for row in rows(text) if row.name and row.error is None}


def hangs(conf: Mapping[str, str]) -> bool:
    """Whether a server that is started with *conf* loads a library that never returns."""
    return "hanglib" in conf.get("shared_preload_libraries", "")


def lacks_certificate(conf: Mapping[str, str]) -> bool:
    """Whether a server with *conf* has TLS on, for which there is no certificate."""
    return conf.get(TLS) == "on"


def locks_out(conf: Mapping[str, str]) -> bool:
    """Whether a server with *conf* in force refuses every new session."""
    return "nolib" in conf.get(SESSION_LIBRARIES, "") or crashes(conf)


def crashes(conf: Mapping[str, str]) -> bool:
    """Whether each new session crashes, and the server with it."""
    return "crashlib" in conf.get(SESSION_LIBRARIES, "")
