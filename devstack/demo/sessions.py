"""Clients of the demo's Postgres that read pages all the time, each in a thread."""

import threading
from collections.abc import Callable

import psycopg


class Session:
    """Runs one statement again and again until stopped, and checks every answer."""

    def __init__(
        self,
        connect: Callable[[], psycopg.Connection[tuple[object, ...]]],
        *,
        sql: str,
        expected: int,
        pages: int,
    ) -> None:
        self._connection = connect()
        self._sql = sql
        self._expected = expected
        self._pages = pages
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.failures: list[str] = []
        self.pages_read = 0
        self.answered = 0
        """How many statements had the right answer."""

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def stop(self, timeout: float) -> None:
        """Let the statement that runs end; one that does not within *timeout* is a failure."""
        self._stop.set()
        self._thread.join(timeout)
        if self._thread.is_alive():
            self.failures.append(f"a query still hangs after {timeout:g} s")
            self._connection.cancel_safe()
            self._thread.join(5.0)
        self._connection.close()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                row = self._connection.execute(self._sql.encode()).fetchone()
            except psycopg.Error as error:
                self.failures.append(str(error).strip())
                return
            if row != (self._expected,):
                self.failures.append(f"expected {self._expected}, got {row}")
                return
            self.answered += 1
            self.pages_read += self._pages
