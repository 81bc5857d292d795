"""One look at the running server over SQL, which cannot hang the daemon.

psycopg's own deadlines do not bound everything (a cancelled query waits again for the server), so
the connection is driven through `psycopg.pq`, libpq's non-blocking face, in a thread of its own,
with every wait on the socket cut at the deadline. The caller waits no longer than that even where
the thread is stuck in a name lookup; a second look is refused until the first has ended.

The order of the questions matters (PostgreSQL's `show_all_file_settings`): with debug messages on,
reading `pg_file_settings` makes the server tell why it refuses a value, and marks in *this* session
which settings wait for a restart.
"""

from __future__ import annotations

import asyncio
import select
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from compute_ctl.errors import ProbeError
from compute_ctl.proof import FileSetting, PendingRestart, SqlReport

if TYPE_CHECKING:
    from psycopg import pq  # imported at the first look: it costs 10 MB

MAX_NOTICES: Final = 200
NOTICE_CHARS: Final = 500
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

SET_DEBUG: Final = "SET client_min_messages = debug3"
FILE_SETTINGS: Final = """
SELECT sourcefile, sourceline, name, setting, applied, error
FROM pg_catalog.pg_file_settings ORDER BY seqno"""
RESET_DEBUG: Final = "SET client_min_messages = warning"
PENDING_RESTART: Final = """
SELECT name, pg_catalog.current_setting(name), boot_val
FROM pg_catalog.pg_settings WHERE pending_restart ORDER BY name"""
SERVER: Final = """
SELECT (extract(epoch FROM pg_catalog.pg_conf_load_time()) * 1000000)::bigint,
       pg_catalog.current_setting('neon_refresh.config_generation', true),
       EXISTS (SELECT FROM pg_catalog.pg_settings WHERE name = 'neon_refresh.config_generation')"""
"""The last column: a placeholder, which anybody may set, is not in pg_settings."""

Row = tuple[str | None, ...]


class SqlProbe:
    """Looks at the server of one connection string; used from one event loop."""

    def __init__(self, connstr: str) -> None:
        """*connstr* is a superuser's conninfo or URL; it is not looked at before the first use."""
        self._connstr = connstr
        self._ended = threading.Event()
        self._ended.set()

    async def look(self, *, deadline_s: float) -> SqlReport:
        """Return what the server says about its configuration files.

        Raises:
            ProbeError: no answer within *deadline_s*, or an error, or an earlier look is stuck.
        """
        if not self._ended.is_set():
            raise ProbeError("an earlier look at postgres has not ended yet")
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[SqlReport] = loop.create_future()
        deadline = time.monotonic() + deadline_s
        self._ended.clear()
        threading.Thread(
            target=self._look,
            args=(deadline, _Reply(loop, answer)),
            name="sql-probe",
            daemon=True,  # a name lookup may hang for longer than the daemon lives
        ).start()
        try:
            async with asyncio.timeout(deadline_s):
                return await answer
        except TimeoutError as error:
            raise ProbeError(f"postgres did not answer within {deadline_s:g} s") from error

    def _look(self, deadline: float, reply: _Reply) -> None:
        """Ask, in a thread; never raises."""
        result: SqlReport | ProbeError
        try:
            result = _report(self._connstr, deadline)
        except ProbeError as error:
            result = error
        except Exception as error:  # noqa: BLE001 (psycopg's, or a bug: the caller must hear of it)
            result = ProbeError(f"could not ask postgres: {_one_line(str(error))}")
        finally:
            self._ended.set()
        reply.give(result)


class _Reply:
    """Takes the thread's result to the loop, which may not want it any more."""

    def __init__(self, loop: asyncio.AbstractEventLoop, answer: asyncio.Future[SqlReport]) -> None:
        self._loop = loop
        self._answer = answer

    def give(self, result: SqlReport | ProbeError) -> None:
        try:
            self._loop.call_soon_threadsafe(self._set, result)
        except RuntimeError:
            return  # the loop is closed: nobody waits

    def _set(self, result: SqlReport | ProbeError) -> None:
        if self._answer.done():
            return
        if isinstance(result, ProbeError):
            self._answer.set_exception(result)
        else:
            self._answer.set_result(result)


def _report(connstr: str, deadline: float) -> SqlReport:
    session = _Session(deadline)
    try:
        session.connect(connstr)
        session.query(SET_DEBUG)
        session.notices.clear()
        settings = tuple(_file_setting(row) for row in session.query(FILE_SETTINGS))
        notices = tuple(session.notices)
        session.query(RESET_DEBUG)
        pending = session.query(PENDING_RESTART)
        ((load_time, marker, defined),) = session.query(SERVER)
    finally:
        session.close()
    return SqlReport(
        conf_load_time=_EPOCH + timedelta(microseconds=int(load_time or 0)),
        marker=marker,
        library_loaded=defined == "t",
        settings=settings,
        pending_restart=tuple(_pending(row, settings) for row in pending),
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


def _conninfo(connstr: str, deadline: float) -> bytes:
    from psycopg import ProgrammingError  # noqa: PLC0415
    from psycopg.conninfo import conninfo_to_dict, make_conninfo  # noqa: PLC0415

    try:
        given = conninfo_to_dict(connstr)
    except ProgrammingError:
        # libpq's own message may quote the password.
        raise ProbeError("the connection string is not valid") from None
    left_ms = max(1, int((deadline - time.monotonic()) * 1000))
    options = (
        f"{given.get('options', '') or ''} -c statement_timeout={left_ms} -c search_path=pg_catalog"
        " -c default_transaction_read_only=off -c client_min_messages=warning -c lc_messages=C"
        " -c datestyle=ISO -c lock_timeout=0 -c row_security=on"
    )
    return make_conninfo(
        connstr,
        options=options.strip(),
        application_name="compute_ctl",
        client_encoding="UTF8",
        gssencmode="disable",
        connect_timeout=None,
    ).encode()


@dataclass
class _Session:
    """A connection in non-blocking mode; every wait ends at the deadline."""

    deadline: float
    notices: list[str] = field(default_factory=list)
    _connection: pq.abc.PGconn | None = None

    def connect(self, connstr: str) -> None:
        from psycopg import pq  # noqa: PLC0415

        connection = pq.PGconn.connect_start(_conninfo(connstr, self.deadline))
        self._connection = connection
        connection.notice_handler = self._noticed
        while connection.status != pq.ConnStatus.BAD:
            step = connection.connect_poll()
            if step == pq.PollingStatus.OK:
                connection.nonblocking = 1
                return
            if step == pq.PollingStatus.FAILED:
                break
            self._wait(connection.socket, writing=step == pq.PollingStatus.WRITING)
        raise ProbeError(
            f"could not connect to postgres: {_one_line(connection.get_error_message())}"
        )

    def query(self, sql: str) -> list[Row]:
        from psycopg import pq  # noqa: PLC0415

        connection = self._connection
        assert connection is not None  # noqa: S101 (connect came first)
        connection.send_query(sql.encode())
        while connection.flush():
            self._wait(connection.socket, writing=True)
        rows: list[Row] = []
        while (result := self._result(connection)) is not None:
            if result.status not in (pq.ExecStatus.TUPLES_OK, pq.ExecStatus.COMMAND_OK):
                raise ProbeError(
                    f"postgres refused to answer: {_one_line(result.get_error_message())}"
                )
            rows += [
                tuple(_text(result.get_value(row, column)) for column in range(result.nfields))
                for row in range(result.ntuples)
            ]
        return rows

    def close(self) -> None:
        if self._connection is not None:
            self._connection.finish()
            self._connection = None

    def _result(self, connection: pq.abc.PGconn) -> pq.abc.PGresult | None:
        while connection.is_busy():
            self._wait(connection.socket, writing=False)
            connection.consume_input()
        return connection.get_result()

    def _wait(self, socket: int, *, writing: bool) -> None:
        left_s = self.deadline - time.monotonic()
        poll = select.poll()  # select() would refuse a descriptor above 1023
        poll.register(socket, select.POLLOUT if writing else select.POLLIN)
        if left_s <= 0 or not poll.poll(left_s * 1000):
            raise ProbeError("postgres did not answer in time")

    def _noticed(self, result: pq.abc.PGresult) -> None:
        if len(self.notices) < MAX_NOTICES:
            self.notices.append(_one_line(result.get_error_message())[:NOTICE_CHARS])


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode(errors="replace")


def _one_line(text: str) -> str:
    return " ".join(text.split())
