"""What a promotion asks of the running server."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

from compute_common.system.blocking_worker import in_thread
from compute_ctl.errors import ProbeError
from compute_ctl.sql.kept_session import KeptSession
from compute_ctl.sql.session import PgSession

APPLICATION: Final = "compute_ctl promotion"
"""Of the session that calls pg_promote, so that another daemon finds it."""
WATCHER: Final = "compute_ctl replay"
ANSWER_S: Final = 2.0
MARGIN_S: Final = 5.0
"""For the session to connect, and to bring the answer."""
REQUEST: Final = "promote"
"""The file in the data directory by which a promotion is requested; the startup process removes it
as soon as it promotes (PROMOTE_SIGNAL_FILE)."""

REPLAYED: Final = "SELECT pg_last_wal_replay_lsn()"
PROMOTING: Final = """\
SELECT EXISTS (SELECT FROM pg_stat_activity
               WHERE application_name = 'compute_ctl promotion' AND state = 'active')"""
"""Whether a session of that name calls it."""


class PgStandby:
    """The server of one data directory and connection string; used from one event loop."""

    def __init__(self, connstr: str, pgdata: Path) -> None:
        """*connstr* is a superuser's conninfo or URL."""
        self._connstr = connstr
        self._request = pgdata / REQUEST
        self._session = KeptSession(connstr, application_name=WATCHER)

    async def replayed(self) -> str | None:
        """Return how far the log is replayed, None where none is. Raises ProbeError."""
        return await self._ask(REPLAYED)

    async def promoting(self) -> bool:
        """Return whether a call of pg_promote still runs. Raises ProbeError."""
        return await self._ask(PROMOTING) == "t"

    async def _ask(self, sql: str) -> str | None:
        try:
            ((value,),) = await self._session.ask(sql, within_s=ANSWER_S)
        except TimeoutError as error:
            raise ProbeError(f"postgres did not answer within {ANSWER_S:g} s") from error
        return value

    async def promote(self, *, within_s: float) -> bool:
        """Call pg_promote in a session of its own. Raises SqlError and ProbeError."""
        deadline = time.monotonic() + within_s + MARGIN_S

        def call() -> bool:
            session = PgSession(
                self._connstr,
                deadline,
                application_name=APPLICATION,
                options={"role": "none"},
            )
            try:
                session.connect()
                return session.query(f"SELECT pg_promote(true, {max(1, int(within_s))})") == [
                    ("t",)
                ]
            finally:
                session.close()

        try:
            return await in_thread(call, name="promotion", within_s=within_s + 2 * MARGIN_S)
        except TimeoutError as error:
            raise ProbeError(f"postgres did not answer within {within_s:g} s") from error

    async def withdraw(self) -> bool:
        """Remove the file that requests a promotion."""

        def remove() -> bool:
            try:
                self._request.unlink()
            except OSError:
                return False
            return True

        try:
            return await in_thread(remove, name="promotion", within_s=ANSWER_S)
        except TimeoutError:
            return False
