"""One look at the running server over SQL, which cannot hang the daemon.

The session is bounded by itself, and the caller waits no longer than the deadline even where its
thread is stuck in a name lookup; a second look is refused until the first has ended.

The order of the questions matters (PostgreSQL's `show_all_file_settings`): with debug messages on,
reading `pg_file_settings` makes the server tell why it refuses a value, and marks in *this* session
which settings wait for a restart.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Final

from compute_ctl.decisions.proof import FileSetting, PendingRestart, SqlReport
from compute_ctl.errors import ProbeError
from compute_ctl.sql.session import PgSession, Row
from compute_ctl.system.daemon_thread import Room

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

SET_DEBUG: Final = "SET client_min_messages = debug3"
FILE_SETTINGS: Final = """
SELECT sourcefile, sourceline, name, setting, applied, error
FROM pg_catalog.pg_file_settings ORDER BY seqno"""
RESET_DEBUG: Final = "SET client_min_messages = warning"
PENDING_RESTART: Final = """
SELECT name, pg_catalog.current_setting(name), boot_val
FROM pg_catalog.pg_settings WHERE pending_restart ORDER BY name"""
COMMAND_LINE: Final = """
SELECT name, pg_catalog.current_setting(name)
FROM pg_catalog.pg_settings WHERE source = 'command line'"""
SERVER: Final = """
SELECT (extract(epoch FROM pg_catalog.pg_conf_load_time()) * 1000000)::bigint,
       pg_catalog.current_setting('neon_refresh.config_generation', true),
       EXISTS (SELECT FROM pg_catalog.pg_settings WHERE name = 'neon_refresh.config_generation')"""
"""The last column: a placeholder, which anybody may set, is not in pg_settings."""


class SqlProbe:
    """Looks at the server of one connection string; used from one event loop."""

    def __init__(self, connstr: str) -> None:
        """*connstr* is a superuser's conninfo or URL; it is not looked at before the first use."""
        self._connstr = connstr
        self._room = Room()

    async def look(self, *, deadline_s: float) -> SqlReport:
        """Return what the server says about its configuration files.

        Raises:
            ProbeError: no answer within *deadline_s*, or an error, or an earlier look is stuck.
        """
        if not self._room.free:
            raise ProbeError("an earlier look at postgres has not ended yet")
        deadline = time.monotonic() + deadline_s
        try:
            return await self._room.run(
                lambda: _report(self._connstr, deadline), name="sql-probe", within_s=deadline_s
            )
        except TimeoutError as error:
            raise ProbeError(f"postgres did not answer within {deadline_s:.1f} s") from error


def _report(connstr: str, deadline: float) -> SqlReport:
    session = PgSession(connstr, deadline)
    try:
        session.connect()
        session.query(SET_DEBUG)
        session.notices.clear()
        settings = tuple(_file_setting(row) for row in session.query(FILE_SETTINGS))
        notices = tuple(session.notices)
        session.query(RESET_DEBUG)
        pending = session.query(PENDING_RESTART)
        fixed = session.query(COMMAND_LINE)
        ((load_time, marker, defined),) = session.query(SERVER)
    finally:
        session.close()
    return SqlReport(
        conf_load_time=_EPOCH + timedelta(microseconds=int(load_time or 0)),
        marker=marker,
        library_loaded=defined == "t",
        settings=settings,
        pending_restart=tuple(_pending(row, settings) for row in pending),
        command_line={(name or "").lower(): value or "" for name, value in fixed},
        notices=notices,
    )


def _file_setting(row: Row) -> FileSetting:
    file, line, name, value, applied, error = row
    return FileSetting(
        file=file or "",
        line=int(line or 0),
        name=name,
        value=value,
        applied=applied == "t",
        error=error,
    )


def _pending(row: Row, settings: tuple[FileSetting, ...]) -> PendingRestart:
    """Join a waiting setting with the line that has its new value: the last one counts."""
    name, old, default = (column or "" for column in row)
    new, file, line = default, None, None  # no line at all: it was removed
    for setting in settings:
        if setting.name is not None and setting.name.lower() == name.lower():
            new, file, line = setting.value or "", setting.file, setting.line
    return PendingRestart(name=name, old=old, new=new, file=file, line=line)
