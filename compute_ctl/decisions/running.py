"""What a new session really runs with, beside what the files say. Pure.

`pg_file_settings` shows what a reload would do. Where nobody has reloaded since a line was changed
or removed, a new session still runs with the old value.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

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


def differs(
    name: str, wanted: str | None, running: Mapping[str, Running], *, ours: Callable[[str], bool]
) -> str:
    """Return why setting *name*, *wanted* so in our file, is not what runs; '' where it is.

    *running* is what a new session has; *ours* tells our file by its path. The settings that name
    other servers are compared by value: nothing but a file or the command line can set them. Of
    the others only the place is known, since the server compares units, not we; what role,
    database or the session itself has set says nothing about the file.
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
