"""What one new session saw of the server's settings. Pure.

`pg_file_settings` shows what a reload would do; until then a session has the old values.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from msgspec import Struct

from compute_ctl.document.spec_sources import UPSTREAM_SETTINGS

PLACEHOLDER: Final = "placeholder"
"""Source of a setting that no library has defined: only its value is known."""
_FROM_FILE: Final = "configuration file"


@dataclass(frozen=True, kw_only=True, slots=True)
class Running:
    """A setting as a new session has it (`pg_settings`)."""

    value: str
    """In the setting's own unit."""
    source: str
    file: str | None = None
    line: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class FileSetting:
    """A row of pg_file_settings."""

    file: str
    line: int
    name: str | None
    value: str | None
    applied: bool
    error: str | None


class PendingRestart(Struct, frozen=True, kw_only=True):
    """A setting whose new value waits for a restart."""

    name: str
    old: str
    new: str
    file: str | None
    line: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class SqlReport:
    """What one new session saw."""

    conf_load_time: datetime
    """Its pg_conf_load_time()."""
    marker: str | None
    """Its neon_refresh.config_generation; None where undefined."""
    library_loaded: bool
    """Whether neon_refresh really defines the marker (a placeholder proves nothing)."""
    settings: tuple[FileSetting, ...]
    pending_restart: tuple[PendingRestart, ...]
    command_line: Mapping[str, str] = field(default_factory=dict)
    """Settings on the server's command line (lower case), and their values."""
    running: Mapping[str, Running] | None = None
    """Its settings that are no defaults, by name in lower case; None: not asked."""
    login_ms: float = 0.0
    """How long it took to log in."""
    notices: tuple[str, ...] = ()
    """Messages of the server while it read the files: they have the reasons of errors."""


def differs(
    name: str, wanted: str | None, running: Mapping[str, Running], *, ours: Callable[[str], bool]
) -> str:
    """Return why setting *name*, which our file sets to *wanted*, does not run; '' if it does.

    *running* is what a new session has; *ours* recognizes our file by its path. Settings that name
    other servers are compared by value: only a file or the command line can set them. Of all others
    only the source is compared, since values may differ in their unit alone. A value that comes
    from a role, a database or the session says nothing about the file.
    """
    found = running.get(name)
    if found is None:
        return ""
    where = f"the value of {found.file}:{found.line}" if found.file else "another value"
    if name in UPSTREAM_SETTINGS:
        same = found.value == (wanted or "")
    else:
        same = found.source != _FROM_FILE or ours(found.file or "")
    return "" if same else f"the server still runs with {where}"
