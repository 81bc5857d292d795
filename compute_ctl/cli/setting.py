"""One setting as Postgres has it, and where its value comes from. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Final

import msgspec

from compute_common.redact import redact_document
from compute_ctl.document.generation import MARKER_SETTING
from compute_ctl.document.spec_sources import UPSTREAM_SETTINGS
from compute_ctl.sql.session import FORCED, Row

SESSION_SETTINGS: Final = frozenset({*FORCED, "statement_timeout", "application_name"})
"""Settings that our own session forces: their values here are not the server's."""
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
    "default": "the default",
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


class FileLine(msgspec.Struct, frozen=True, kw_only=True):
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
    """A setting: value, what sets it, and the lines and overrides that name it."""

    name: str
    value: str | None
    """As a new session has it; secrets are masked."""
    default: str | None
    owner: str
    """What sets the value that is used."""
    file: str | None
    line: int | None
    changes_by: str
    pending_restart: bool
    lines: tuple[FileLine, ...]
    overrides: tuple[Override, ...]


@dataclass(frozen=True, kw_only=True)
class SettingRows:
    """The server's rows about one setting."""

    setting: Row
    files: Sequence[Row]
    overrides: Sequence[Row]

    def owner_of(self, file: str | None) -> str:
        """Return what sets the value of a line in *file*."""
        if file is None:
            return "a configuration file that only a superuser may see"
        base = PurePath(file).name
        written_by_us = any(row[0] == MARKER_SETTING and row[2] == file for row in self.files)
        if written_by_us or base == "compute_ctl.conf":
            upstream = str(self.setting[0]).lower() in UPSTREAM_SETTINGS
            return f"compute_ctl: the document's {'servers' if upstream else 'settings'}"
        return "ALTER SYSTEM" if base == "postgresql.auto.conf" else "another file"

    def lines(self) -> tuple[FileLine, ...]:
        """Return the lines of files that name the setting, in the order in which they are read."""
        name, source = str(self.setting[0]), self.setting[3]
        return tuple(
            FileLine(
                file=str(row[2]),
                line=int(row[3] or 0),
                value=_shown(name, row[1]),
                owner=self.owner_of(row[2]),
                applied=row[4] == "t" and source != "command line",
                error=row[5],
            )
            for row in self.files
            if str(row[0]).lower() == name.lower()
        )


def explain_setting(rows: SettingRows) -> Explanation:
    """Return value, origin and history of the setting that *rows* describe."""
    name, value, context, source, file, line, default, pending, unit = rows.setting
    name = str(name)
    lines = rows.lines()
    owner = _OWNERS.get(str(source), str(source))
    if source == "client" and name in SESSION_SETTINGS:
        winner = next((one for one in reversed(lines) if one.applied), None)
        value = winner.value if winner else default
        file, line = (winner.file, str(winner.line)) if winner else (None, None)
        owner = winner.owner if winner else _OWNERS["default"]
    elif source == "configuration file":
        owner = rows.owner_of(file)
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
            for row in rows.overrides
        ),
    )


def _shown(name: str, value: str | None) -> str | None:
    """Return *value* with secrets masked."""
    if value is None:
        return None
    shown = redact_document({"name": name, "value": value})
    return str(shown["value"]) if isinstance(shown, dict) else None
