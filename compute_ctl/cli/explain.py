"""`explain`: one setting, as Postgres has it, and where its value comes from."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Final

import click
import msgspec

from compute_common.cli.exit_codes import (
    EXIT_FAILED,
    EXIT_NOT_PERMITTED,
    EXIT_UNREACHABLE,
    CommandError,
)
from compute_common.cli.output import as_json, print_json
from compute_common.redact import redact, redact_document
from compute_ctl.cli.exit_codes import EPILOG
from compute_ctl.cli.local import Invocation, server_conninfo
from compute_ctl.document.generation import MARKER_SETTING
from compute_ctl.document.spec_sources import UPSTREAM_SETTINGS
from compute_ctl.errors import ProbeError, SqlError
from compute_ctl.sql.session import FORCED, PgSession, Row

TIMEOUT_S: Final = 10.0
_LOGIN_REFUSED: Final = re.compile(
    r"authentication failed|no pg_hba\.conf entry|no password supplied|role \".*\" does not exist"
)
_SOCKET: Final = re.compile(r'on socket "([^"]+)"')
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_$.]*")
_SETTING: Final = """
SELECT name, pg_catalog.current_setting(name), context, source, sourcefile, sourceline,
       boot_val, pending_restart, unit
FROM pg_catalog.pg_settings WHERE pg_catalog.lower(name) = '{name}'"""
_FILES: Final = """
SELECT name, setting, sourcefile, sourceline, applied, error FROM pg_catalog.pg_file_settings
WHERE pg_catalog.lower(name) IN ('{name}', '{marker}') ORDER BY seqno"""
_OVERRIDES: Final = """
SELECT d.datname, r.rolname, pg_catalog.split_part(one, '=', 2)
FROM pg_catalog.pg_db_role_setting s
LEFT JOIN pg_catalog.pg_database d ON d.oid = s.setdatabase
LEFT JOIN pg_catalog.pg_roles r ON r.oid = s.setrole
CROSS JOIN LATERAL pg_catalog.unnest(s.setconfig) AS one
WHERE pg_catalog.lower(pg_catalog.split_part(one, '=', 1)) = '{name}'"""
_SIMILAR: Final = """
SELECT name FROM pg_catalog.pg_settings WHERE pg_catalog.strpos(name, '{name}') > 0
ORDER BY pg_catalog.length(name) LIMIT 5"""
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


@click.command(epilog=EPILOG, short_help="Show a setting, and what sets it.")
@click.argument("setting")
@click.option("-C", "--connstr", default="", metavar="CONNINFO", help="How to reach the server.")
@click.option(
    "-D", "--pgdata", envvar="PGDATA", metavar="DIR", help="Its data directory (or $PGDATA)."
)
@as_json
def explain(setting: str, connstr: str, pgdata: str | None, as_json: bool) -> None:
    """Show a setting: its value, what sets it (file and line), what it takes to change it.

    Asks the server over SQL: at -C, else where the data directory says, else by libpq's defaults.
    """
    name = setting.lower()
    if _NAME.fullmatch(name) is None:
        raise click.BadParameter(f'"{setting}" is no name of a setting')
    try:
        rows = _ask(connstr or server_conninfo(pgdata), name)
    except ProbeError as error:
        raise _session_error(str(error), name, connstr, pgdata) from error
    explanation = explain_setting(rows)
    if as_json:
        print_json(msgspec.to_builtins(explanation))
        return
    from compute_common.cli.tables import show
    from compute_ctl.cli import tables

    show(tables.explanation(explanation))


def _session_error(reason: str, name: str, connstr: str, pgdata: str | None) -> CommandError:
    """Return the error for a session that failed with libpq's *reason*, with a hint."""
    if not _LOGIN_REFUSED.search(reason):
        hint = None if connstr else "Name the server with -C, or its data directory with -D."
        return CommandError(EXIT_UNREACHABLE, reason, hint=hint)
    socket = _SOCKET.search(reason)
    path = Path(pgdata) if pgdata else Path(socket[1]) if socket else None
    where = ("-C", redact(connstr)) if connstr else ("-D", pgdata or "DATA_DIRECTORY")
    invocation = Invocation.of(path, where)
    if socket and invocation.owner:  # peer: the system user has to be the role
        hint = f"{invocation.line('explain', name)}, or name a user and password with -C."
        return CommandError(EXIT_NOT_PERMITTED, reason, hint=hint)
    return CommandError(EXIT_NOT_PERMITTED, reason, hint="Name a user that may log in with -C.")


def _ask(connstr: str, name: str) -> SettingRows:
    session = PgSession(connstr, time.monotonic() + TIMEOUT_S)
    try:
        session.connect()
        settings = session.query(_SETTING.format(name=name))
        if not settings:
            similar = ", ".join(str(row[0]) for row in session.query(_SIMILAR.format(name=name)))
            raise CommandError(
                EXIT_FAILED,
                f'the server knows no setting "{name}"',
                hint=f"Similar: {similar}." if similar else None,
            )
        try:
            files = session.query(_FILES.format(name=name, marker=MARKER_SETTING))
        except SqlError:
            files = []  # for superusers only
        overrides = session.query(_OVERRIDES.format(name=name))
    finally:
        session.close()
    return SettingRows(setting=settings[0], files=files, overrides=overrides)


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
