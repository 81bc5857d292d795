"""`explain`: one setting as the server has it, and whose word it is. Asks Postgres over SQL."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Final

import click
import msgspec

from compute_ctl.cli.client import ClientError
from compute_ctl.cli.common import EPILOG, EXIT_FAILED, EXIT_UNREACHABLE, as_json, print_json
from compute_ctl.document.generation import MARKER_SETTING
from compute_ctl.document.spec_sources import UPSTREAM_SETTINGS
from compute_ctl.errors import ProbeError, SqlError
from compute_ctl.redact import redact_document
from compute_ctl.sql.session import FORCED, PgSession, Row

TIMEOUT_S: Final = 10.0
OUR_NAMES: Final = frozenset({*FORCED, "statement_timeout", "application_name"})
"""What our own session forces: its values are not the server's."""

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_$.]*")
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


@click.command(epilog=EPILOG)
@click.argument("setting")
@click.option("-C", "--connstr", default="", metavar="CONNINFO", help="How to reach the server.")
@click.option("-D", "--pgdata", envvar="PGDATA", metavar="DIR", help="Its data directory.")
@as_json
def explain(setting: str, connstr: str, pgdata: str | None, as_json: bool) -> None:
    """Show a setting: its value, file and line, whose word it is, what it takes to change it.

    Asks the server over SQL: at -C, else where the data directory says, else where libpq finds it.
    """
    name = setting.lower()
    if _NAME.fullmatch(name) is None:
        raise click.BadParameter(f'"{setting}" is no name of a setting')
    try:
        found = _ask(connstr or _conninfo(pgdata), name)
    except ProbeError as error:
        raise ClientError(EXIT_UNREACHABLE, str(error), hint="Name the server with -C.") from error
    explanation = judge(found)
    if as_json:
        print_json(msgspec.to_builtins(explanation))
        return
    from compute_ctl.cli import output  # noqa: PLC0415 -- rich

    output.show(output.explanation(explanation))


def _conninfo(pgdata: str | None) -> str:
    """Return how to reach the server of a data directory, '' for libpq's own way."""
    if not pgdata:
        return "dbname=postgres"
    try:
        lines = (Path(pgdata) / "postmaster.pid").read_text(errors="replace").splitlines()
        port, folder, address = int(lines[3]), lines[4], lines[5]
    except (OSError, IndexError, ValueError) as error:
        raise ClientError(
            EXIT_UNREACHABLE, f'no server runs in "{pgdata}", or it may not be looked at'
        ) from error
    host = folder or ("localhost" if address in ("*", "") else address)
    quoted = host.replace("\\", "\\\\").replace("'", "\\'")
    return f"host='{quoted}' port={port} dbname=postgres"


def _ask(connstr: str, name: str) -> Found:
    session = PgSession(connstr, time.monotonic() + TIMEOUT_S)
    try:
        session.connect()
        settings = session.query(_SETTING.format(name=name))
        if not settings:
            similar = ", ".join(str(row[0]) for row in session.query(_SIMILAR.format(name=name)))
            raise ClientError(
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
    return Found(setting=settings[0], files=files, overrides=overrides)


def judge(found: Found) -> Explanation:
    """Return what the server's answers mean. Pure."""
    name, value, context, source, file, line, default, pending, unit = found.setting
    name = str(name)
    ours = {row[2] for row in found.files if row[0] == MARKER_SETTING}
    lines = tuple(
        Line(
            file=str(row[2]),
            line=int(row[3] or 0),
            value=_shown(name, row[1]),
            owner=_owner_of_file(name, row[2], ours),
            applied=row[4] == "t",
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
        changes_by=_CHANGES.get(str(context), str(context)),
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
