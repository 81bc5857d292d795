"""`explain`: asks Postgres for one setting."""

from __future__ import annotations

import re
import time
from contextlib import closing
from pathlib import Path
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
from compute_common.redact import redact
from compute_ctl.cli.exit_codes import EPILOG
from compute_ctl.cli.local import Invocation, server_conninfo
from compute_ctl.cli.setting import SettingRows, explain_setting
from compute_ctl.document.generation import MARKER_SETTING
from compute_ctl.errors import ProbeError, SqlError
from compute_ctl.sql.session import PgSession

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
        raise click.BadParameter(f'"{setting}" is not a name of a setting')
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
    with closing(PgSession(connstr, time.monotonic() + TIMEOUT_S)) as session:
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
    return SettingRows(setting=settings[0], files=files, overrides=overrides)
