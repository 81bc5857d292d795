"""One connection to Postgres that cannot hang: every wait ends at a deadline.

psycopg's own deadlines do not bound everything (a cancelled query waits again for the server), so
libpq is driven through `psycopg.pq`, its non-blocking face, and each wait on the socket is cut at
the deadline. Only a name lookup is not bounded: use sessions in a thread (`blocking_worker`).

Options are forced on the session, since `ALTER ROLE` and `ALTER DATABASE ... SET` can change any of
them behind our back; what the connection string itself asks for comes before, so ours win.
"""

from __future__ import annotations

import os
import select
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from compute_ctl.decisions.logins import LOST
from compute_ctl.errors import LoginError, ProbeError, SqlError
from compute_ctl.sql import verbosity
from compute_ctl.sql.addresses import resolve

if TYPE_CHECKING:
    from psycopg import pq  # imported at the first connect: it costs 10 MB

POSTGRES: Final = "postgres"
MAX_NOTICES: Final = 200
NOTICE_CHARS: Final = 500

FORCED: Final[Mapping[str, str]] = {
    "search_path": "pg_catalog",
    "default_transaction_read_only": "off",
    "client_min_messages": "warning",
    "lc_messages": "C",
    "datestyle": "ISO",
    "lock_timeout": "0",
    "row_security": "on",
}
"""Options of every session with Postgres, beside statement_timeout."""

Row = tuple[str | None, ...]


@dataclass
class PgSession:
    """A connection in non-blocking mode, with autocommit; for one thread."""

    connstr: str = field(repr=False)
    """A conninfo or URL; parsed by `connect`."""
    deadline: float
    """Monotonic seconds; may be changed between two queries."""
    application_name: str = "compute_ctl"
    dbname: str | None = None
    """Database to use instead of that of *connstr*."""
    password: str | None = field(default=None, repr=False)
    """None: that of *connstr*, if any."""
    options: Mapping[str, str] = field(default_factory=dict)
    """Further options to force."""
    peer: str = POSTGRES
    """Who is asked, as messages name it; another than Postgres is not sent its options."""
    notices: list[str] = field(default_factory=list)
    login_s: float = 0.0
    """Duration of the login in seconds."""
    _connection: pq.abc.PGconn | None = None

    def connect(self) -> None:
        """Open the connection, and measure how long the login took.

        Raises:
            LoginError: the server took the connection and refused the session.
            ProbeError: there is none by the deadline.
        """
        from psycopg import Error

        try:
            self._connect()
        except Error as error:
            raise ProbeError(f"could not connect to {self.peer}: {_one_line(str(error))}") from None

    def _connect(self) -> None:
        from psycopg import pq

        began = time.monotonic()
        connection = pq.PGconn.connect_start(self._conninfo())
        self._connection = connection
        connection.notice_handler = self._noticed
        verbosity.set_verbosity(connection, verbosity.VERBOSE)
        logs_in = False
        while connection.status != pq.ConnStatus.BAD:
            logs_in = connection.status in (
                pq.ConnStatus.AWAITING_RESPONSE,
                pq.ConnStatus.AUTH_OK,
            )
            step = connection.connect_poll()
            if step == pq.PollingStatus.OK:
                verbosity.set_verbosity(connection, verbosity.DEFAULT)
                connection.nonblocking = 1
                self.login_s = time.monotonic() - began
                return
            if step == pq.PollingStatus.FAILED:
                break
            try:
                self._wait(connection.socket, writing=step == pq.PollingStatus.WRITING)
            except ProbeError:
                if step == pq.PollingStatus.WRITING:
                    raise
                waited = time.monotonic() - began
                raise ProbeError(
                    f"{self.peer} did not answer in time: no login within {waited:.1f} s"
                ) from None
        text, sqlstate = verbosity.split(connection.get_error_message())
        message = f"could not connect to {self.peer}: {_one_line(text)}"
        if sqlstate or logs_in:
            raise LoginError(message, sqlstate=sqlstate or LOST)
        raise ProbeError(message)

    def query(self, sql: str) -> list[Row]:
        """Run *sql*, perhaps several statements in one transaction; return all rows as text.

        After a SqlError the session can be used again, after any other ProbeError it cannot.

        Raises:
            SqlError: the server refused; the message never quotes *sql*.
            ProbeError: no answer by the deadline, or the connection is lost.
        """
        from psycopg import Error

        try:
            return self._query(sql)
        except Error as error:
            raise ProbeError(f"could not ask {self.peer}: {_one_line(str(error))}") from None

    def value(self, sql: str) -> str | None:
        """Return the first value of the first row, None where there is no row; as `query`."""
        rows = self.query(sql)
        return rows[0][0] if rows else None

    def _query(self, sql: str) -> list[Row]:
        from psycopg import pq

        connection = self._connection
        assert connection is not None  # noqa: S101 (connect came first)
        connection.send_query(sql.encode())
        while connection.flush():
            self._wait(connection.socket, writing=True)
        rows: list[Row] = []
        refused: SqlError | None = None
        while (result := self._result(connection)) is not None:
            if result.status not in (pq.ExecStatus.TUPLES_OK, pq.ExecStatus.COMMAND_OK):
                refused = refused or _refusal(result, self.peer)
                continue
            rows += [
                tuple(_text(result.get_value(row, column)) for column in range(result.nfields))
                for row in range(result.ntuples)
            ]
        if refused is not None:
            raise refused
        return rows

    def cancel(self) -> None:
        """Ask the server to end the query under way; from any thread. Raises ProbeError."""
        from psycopg import Error

        connection = self._connection
        try:
            if connection is not None:
                connection.get_cancel().cancel()
        except Error as error:  # also where it is closed at this moment
            raise ProbeError(f"could not cancel a query: {_one_line(str(error))}") from None

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._connection is not None:
            self._connection.finish()
            self._connection = None

    @property
    def left_s(self) -> float:
        """How many seconds there are until the deadline, negative after it."""
        return self.deadline - time.monotonic()

    def _conninfo(self) -> bytes:
        from psycopg import ProgrammingError
        from psycopg.conninfo import conninfo_to_dict, make_conninfo

        try:
            given = conninfo_to_dict(self.connstr)
        except ProgrammingError:
            # libpq's own message may quote the password.
            raise ProbeError("the connection string is not valid") from None
        forced = dict(self.options)
        if self.peer == POSTGRES:
            left_ms = max(1, int(self.left_s * 1000))
            forced = {"statement_timeout": str(left_ms), **FORCED, **forced}
        options = "".join(f" -c {name}={_escape(value)}" for name, value in forced.items())
        return make_conninfo(
            self.connstr,
            password=self.password or given.get("password"),
            dbname=self.dbname or given.get("dbname"),
            options=f"{given.get('options') or ''}{options}".strip(),
            application_name=self.application_name,
            client_encoding="UTF8",
            gssencmode="disable",
            connect_timeout=None,
            **resolve(given, os.environ),
        ).encode()

    def _result(self, connection: pq.abc.PGconn) -> pq.abc.PGresult | None:
        while connection.is_busy():
            self._wait(connection.socket, writing=False)
            connection.consume_input()
        return connection.get_result()

    def _wait(self, socket: int, *, writing: bool) -> None:
        poll = select.poll()  # select() would refuse a descriptor above 1023
        poll.register(socket, select.POLLOUT if writing else select.POLLIN)
        if self.left_s <= 0 or not poll.poll(max(self.left_s, 0) * 1000):
            raise ProbeError(f"{self.peer} did not answer in time")

    def _noticed(self, result: pq.abc.PGresult) -> None:
        if len(self.notices) < MAX_NOTICES:
            self.notices.append(_one_line(result.get_error_message())[:NOTICE_CHARS])


def _refusal(result: pq.abc.PGresult, peer: str) -> SqlError:
    from psycopg import pq

    state = result.error_field(pq.DiagnosticField.SQLSTATE)
    # Not the whole message: it has a line of the statement, which may hold a password.
    primary = result.error_field(pq.DiagnosticField.MESSAGE_PRIMARY)
    return SqlError(
        _one_line((primary or b"no reason given").decode(errors="replace")),
        sqlstate=state.decode() if state else None,
        peer=peer,
    )


def _escape(value: str) -> str:
    """Return *value* as the server splits its options: white space and backslashes escaped."""
    return "".join(f"\\{one}" if one.isspace() or one == "\\" else one for one in value)


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode(errors="replace")


def _one_line(text: str) -> str:
    return " ".join(text.split())
