"""One setting as the server has it, and whose word it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Final

import msgspec

from compute_ctl.document.generation import MARKER_SETTING
from compute_ctl.document.spec_sources import UPSTREAM_SETTINGS
from compute_ctl.redact import redact_document
from compute_ctl.sql.session import FORCED, Row

OUR_NAMES: Final = frozenset({*FORCED, "statement_timeout", "application_name"})
"""What our own session forces: its values are not the server's."""

_CHANGES: Final = {
    "internal": "cannot be changed",
    "postmaster": "restart",
    "sighup": "reload",
    "superuser-backend": "reload, for new sessions",
    "backend": "reload, for new sessions",
    "superuser": "reload, or SET by a superuser",
    "user": "reload, or SET",
}
"""By pg_settings.context."""
_OWNERS: Final = {
    "default": "nobody: it is the default",
    "override": "the server itself",
    "environment variable": "the environment of the server",
    "command line": "the command line of the server",
    "database": "ALTER DATABASE",
    "user": "ALTER ROLE",
    "database user": "ALTER ROLE IN DATABASE",
    "global": "ALTER ROLE ALL",
    "client": "this connection",
    "session": "this session",
}
"""By pg_settings.source."""


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """A line of a configuration file that names the setting."""

    file: str
    line: int
    value: str | None
    owner: str
    applied: bool
    error: str | None


class Override(msgspec.Struct, frozen=True, kw_only=True):
    """A value for sessions of one role or database."""

    database: str | None
    role: str | None
    value: str


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """All there is to know of a setting."""

    name: str
    value: str | None
    """As a new session has it; what is secret is hidden."""
    default: str | None
    owner: str
    """Who has the last word."""
    file: str | None
    line: int | None
    changes_by: str
    pending_restart: bool
    lines: tuple[Line, ...]
    overrides: tuple[Override, ...]


@dataclass(frozen=True, kw_only=True)
class Found:
    """What the server answered."""

    setting: Row
    files: Sequence[Row]
    overrides: Sequence[Row]


def judge(found: Found) -> Explanation:
    """Return what the server's answers mean."""
    name, value, context, source, file, line, default, pending, unit = found.setting
    name = str(name)
    ours = {row[2] for row in found.files if row[0] == MARKER_SETTING}
    lines = tuple(
        Line(
            file=str(row[2]),
            line=int(row[3] or 0),
            value=_shown(name, row[1]),
            owner=_owner_of_file(name, row[2], ours),
            applied=row[4] == "t" and source != "command line",
            error=row[5],
        )
        for row in found.files
        if str(row[0]).lower() == name.lower()
    )
    owner = _OWNERS.get(str(source), str(source))
    if source == "client" and name in OUR_NAMES:
        winner = next((one for one in reversed(lines) if one.applied), None)
        value = winner.value if winner else default
        file, line = (winner.file, str(winner.line)) if winner else (None, None)
        owner = winner.owner if winner else _OWNERS["default"]
    elif source == "configuration file":
        owner = _owner_of_file(name, file, ours)
    return Explanation(
        name=name,
        value=_shown(name, value),
        default=f"{default}{f' ({unit})' if unit else ''}" if default is not None else None,
        owner=owner,
        file=file,
        line=int(line) if line else None,
        changes_by="restart without it on the command line"
        if source == "command line"
        else _CHANGES.get(str(context), str(context)),
        pending_restart=pending == "t",
        lines=lines,
        overrides=tuple(
            Override(database=row[0], role=row[1], value=_shown(name, row[2]) or "")
            for row in found.overrides
        ),
    )


def _owner_of_file(name: str, file: str | None, ours: set[str | None]) -> str:
    if file is None:
        return "a configuration file that only a superuser may see"
    base = PurePath(file).name
    if file in ours or base == "compute_ctl.conf":
        part = "servers" if name.lower() in UPSTREAM_SETTINGS else "settings"
        return f"compute_ctl: the document's {part}"
    return "ALTER SYSTEM" if base == "postgresql.auto.conf" else "a file of somebody else's"


def _shown(name: str, value: str | None) -> str | None:
    """Return what may be shown of *value*."""
    if value is None:
        return None
    shown = redact_document({"name": name, "value": value})
    return str(shown["value"]) if isinstance(shown, dict) else None
