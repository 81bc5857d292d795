"""Queries about the configuration of the running server, which cannot hang the daemon.

The session is bounded by itself, and the caller waits no longer than the deadline even where its
thread is stuck in a name lookup; a second look is refused until the first has ended.

The order of the questions matters (PostgreSQL's `show_all_file_settings`): with debug messages on,
reading `pg_file_settings` makes the server tell why it refuses a value, and marks in *this* session
which settings wait for a restart. It shows what a reload would do; what a new session really runs
with is in `pg_settings`, and this session is a new one.
"""

from __future__ import annotations

import time
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Final

from compute_common.system.blocking_worker import BlockingWorker
from compute_ctl.decisions.sql_report import (
    PLACEHOLDER,
    FileSetting,
    PendingRestart,
    Running,
    SqlReport,
)
from compute_ctl.document.spec_sources import UPSTREAM_SETTINGS
from compute_ctl.errors import ProbeError
from compute_ctl.sql.session import PgSession, Row

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

SET_DEBUG: Final = "SET client_min_messages = debug3"
FILE_SETTINGS: Final = """
SELECT sourcefile, sourceline, name, setting, applied, error
FROM pg_catalog.pg_file_settings ORDER BY seqno"""
RESET_DEBUG: Final = "SET client_min_messages = warning"
RUNNING: Final = """
SELECT pg_catalog.lower(name), setting, source, sourcefile, sourceline,
       CASE WHEN pending_restart OR source = 'command line'
            THEN pg_catalog.current_setting(name) END,
       CASE WHEN pending_restart THEN boot_val END, pending_restart, name
FROM pg_catalog.pg_settings
WHERE pending_restart OR source <> 'default' OR name = ANY (UPSTREAM) ORDER BY name"""
PLACEHOLDERS: Final = """
SELECT one, pg_catalog.current_setting(one, true) FROM pg_catalog.unnest(UPSTREAM) AS one
WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_settings WHERE name = one)"""
"""Those settings that name other servers and that no loaded library defines."""
SERVER: Final = """
SELECT (extract(epoch FROM pg_catalog.pg_conf_load_time()) * 1000000)::bigint,
       pg_catalog.current_setting('neon_refresh.config_generation', true),
       EXISTS (SELECT FROM pg_catalog.pg_settings WHERE name = 'neon_refresh.config_generation')"""
"""The last column: a placeholder, which anybody may set, is not in pg_settings."""


_UPSTREAM: Final = f"'{{{','.join(sorted(UPSTREAM_SETTINGS))}}}'::pg_catalog.text[]"


class PgSqlProbe:
    """Looks at the server of one connection string; used from one event loop."""

    def __init__(self, connstr: str) -> None:
        """*connstr* is a superuser's conninfo or URL; it is parsed at the first use."""
        self._connstr = connstr
        self._worker = BlockingWorker("sql-probe")

    async def look(self, *, deadline_s: float) -> SqlReport:
        """Return what the server says about its configuration files.

        Raises:
            LoginError: the server refused the session.
            ProbeError: no answer within *deadline_s*, or an error, or an earlier look is stuck.
        """
        if self._worker.busy:
            raise ProbeError("an earlier look at postgres has not ended yet")
        # The thread ends a little before its caller gives up, so that its error tells the reason.
        deadline = time.monotonic() + deadline_s * 0.95
        try:
            return await self._worker.run(
                lambda: _report(self._connstr, deadline), within_s=deadline_s
            )
        except TimeoutError as error:
            raise ProbeError(f"postgres did not answer within {deadline_s:.1f} s") from error


def _report(connstr: str, deadline: float) -> SqlReport:
    with closing(PgSession(connstr, deadline)) as session:
        session.connect()
        session.query(SET_DEBUG)
        session.notices.clear()
        settings = tuple(_file_setting(row) for row in session.query(FILE_SETTINGS))
        notices = tuple(session.notices)
        session.query(RESET_DEBUG)
        running = session.query(RUNNING.replace("UPSTREAM", _UPSTREAM))
        placeholders = session.query(PLACEHOLDERS.replace("UPSTREAM", _UPSTREAM))
        ((load_time, marker, defined),) = session.query(SERVER)
    return SqlReport(
        conf_load_time=_EPOCH + timedelta(microseconds=int(load_time or 0)),
        marker=marker,
        library_loaded=defined == "t",
        settings=settings,
        pending_restart=tuple(_pending(row, settings) for row in running if row[7] == "t"),
        command_line={row[0] or "": row[5] or "" for row in running if row[2] == "command line"},
        running={row[0] or "": _running(row) for row in running}
        | {
            name or "": Running(value=value or "", source=PLACEHOLDER)
            for name, value in placeholders
        },
        login_ms=session.login_s * 1000,
        notices=notices,
    )


def _running(row: Row) -> Running:
    return Running(
        value=row[1] or "", source=row[2] or "", file=row[3], line=int(row[4]) if row[4] else None
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
    """Join a setting that waits for a restart with the last line that sets it."""
    name, old, default = row[8] or "", row[5] or "", row[6] or ""
    new, file, line = default, None, None  # no line at all: it was removed
    for setting in settings:
        if setting.name is not None and setting.name.lower() == name.lower():
            new, file, line = setting.value or "", setting.file, setting.line
    return PendingRestart(name=name, old=old, new=new, file=file, line=line)
