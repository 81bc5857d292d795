"""Queries that run in a thread while the test does something to the server."""

import threading
import time
from contextlib import suppress
from typing import Any, Self

import psycopg

from devstack.postgres import Postgres
from devstack.wait import wait_until


class Blocked:
    """A query in a thread, on a new connection or the one given; a context manager ends both."""

    def __init__(
        self,
        server: Postgres,
        sql: str,
        *,
        connection: psycopg.Connection[tuple[Any, ...]] | None = None,
        **parameters: Any,
    ) -> None:
        self.connection = connection or server.connect(**parameters)
        self.pid = self.connection.info.backend_pid
        self.rows: list[tuple[Any, ...]] = []
        self.error: psycopg.Error | None = None
        self.seconds = 0.0
        self._server = server
        self._sql = sql
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        begin = time.monotonic()
        try:
            self.rows = self.connection.execute(self._sql.encode()).fetchall()
        except psycopg.Error as error:
            self.error = error
        self.seconds = time.monotonic() - begin

    @property
    def done(self) -> bool:
        """Whether the query has ended."""
        return not self._thread.is_alive()

    def wait_blocked(self) -> None:
        """Wait until the backend waits in the extension."""
        sql = "SELECT wait_event_type FROM pg_stat_activity WHERE pid = %s"
        wait_until(
            "the query to wait for a pageserver",
            lambda: self.done or self._server.value(sql, self.pid) == "Extension",
        )
        assert not self.done, f"ended: {self.rows!r} {self.error!r}"

    def cancel(self) -> None:
        """Call pg_cancel_backend."""
        self._server.value("SELECT pg_cancel_backend(%s)", self.pid)

    def join(self, timeout: float = 60.0) -> list[tuple[Any, ...]]:
        """Wait for the end and return the rows; raises what the query raised."""
        self._thread.join(timeout)
        assert self.done, f"the query did not end within {timeout:g} s"
        if self.error is not None:
            raise self.error
        return self.rows

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if not self.done:
            with suppress(psycopg.Error):
                self._server.value("SELECT pg_terminate_backend(%s)", self.pid)
        self._thread.join(5)
        self.connection.close()


def end_at_limit(server: Postgres, limit: str = "10ms") -> None:
    """Have the queries that wait fail now: set a limit that they have passed, or soon will.

    Call it once they have met the trouble that their error is to tell of.
    """
    server.configure({"neon_refresh.query_cancel_after": limit})
    server.reload()


def wait_no_suspicion(server: Postgres) -> None:
    """Wait until nothing is suspected, for less than the 30 s after which that ends by itself."""
    since = "SELECT suspected_since FROM neon_refresh.stat"
    wait_until("the end of suspicion", lambda: server.value(since) is None, 20)


def suspected(server: Postgres) -> tuple[str, str]:
    """Class and text of the last error of shard 0."""
    row = server.query("SELECT last_class, last_error FROM neon_refresh.shards")[0]
    return row[0], row[1]
