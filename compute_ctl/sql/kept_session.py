"""A session with Postgres that is kept open between questions. Used from one event loop.

Each question is asked in a thread, one at a time, and ends at its deadline. After an error, or no
answer in time, the session is closed, since its state is unknown.
"""

from __future__ import annotations

import asyncio
import time
from typing import Final

from compute_common.system.blocking_worker import BlockingWorker
from compute_ctl.errors import ProbeError, SqlError
from compute_ctl.sql.session import PgSession, Row

THREAD_MARGIN_S: Final = 0.5
"""For a thread to report that its deadline has passed."""

STAY: Final = """\
SELECT set_config(name, '0', false) FROM pg_settings WHERE name = 'idle_session_timeout'"""
"""The session is kept between two questions; before 14 there is no such setting."""


class KeptSession:
    """One connection to the server of *connstr*, as *application_name*."""

    def __init__(self, connstr: str, *, application_name: str) -> None:
        self._connstr = connstr
        self._application_name = application_name
        self._session: PgSession | None = None
        self._worker = BlockingWorker("session")
        self._turn = asyncio.Lock()

    def close(self) -> None:
        """Close the connection, unless a query that hangs still uses it."""
        if not self._worker.busy:
            self._close()

    async def ask(self, sql: str, *, within_s: float) -> list[Row]:
        """Run *sql*, over a new connection if there is none or it was lost.

        Raises:
            ProbeError: the server refused, or did not answer within *within_s*.
            TimeoutError: an earlier query has not ended.
        """
        deadline = time.monotonic() + within_s
        async with asyncio.timeout(within_s + THREAD_MARGIN_S), self._turn:
            return await self._worker.run(
                lambda: self._ask(sql, deadline),
                within_s=within_s + THREAD_MARGIN_S,
            )

    async def ask_at_once(self, sql: str, *, within_s: float) -> list[Row] | None:
        """Run *sql* if the session is open and nobody uses it; else return None.

        Raises:
            ProbeError: the server refused, or did not answer within *within_s*.
            TimeoutError: the thread did not.
        """
        session = self._session
        if session is None or self._worker.busy or self._turn.locked():
            return None
        deadline = time.monotonic() + within_s
        async with self._turn:
            return await self._worker.run(
                lambda: self._query(session, sql, deadline), within_s=within_s * 2
            )

    def _ask(self, sql: str, deadline: float) -> list[Row]:
        if self._session is not None:
            try:
                return self._query(self._session, sql, deadline)
            except SqlError:
                raise
            except ProbeError:
                pass  # Postgres may have restarted
        self._session = PgSession(
            self._connstr,
            deadline,
            application_name=self._application_name,
            options={"role": "none"},
        )
        try:
            self._session.connect()
            self._session.query(STAY)
            return self._query(self._session, sql, deadline)
        except ProbeError:
            self._close()
            raise

    def _query(self, session: PgSession, sql: str, deadline: float) -> list[Row]:
        session.deadline = deadline
        session.notices.clear()
        try:
            return session.query(sql)
        except ProbeError:
            self._close()
            raise

    def _close(self) -> None:
        if self._session is not None:
            self._session.close()
            self._session = None
