"""Clients of the demo's Postgres that read pages all the time, each in a thread."""

import threading
import time
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
        self.answers: list[tuple[float, float]] = []
        """(begun, answered) of each statement, monotonic seconds."""

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

    def first_begun_after(self, moment: float) -> float | None:
        """Return when the first statement was answered that began after *moment*."""
        for begun, answered in list(self.answers):
            if begun >= moment:
                return answered
        return None

    def _run(self) -> None:
        while not self._stop.is_set():
            begun = time.monotonic()
            try:
                row = self._connection.execute(self._sql.encode()).fetchone()
            except psycopg.Error as error:
                self.failures.append(str(error).strip())
                return
            if row != (self._expected,):
                self.failures.append(f"expected {self._expected}, got {row}")
                return
            self.answers.append((begun, time.monotonic()))
            self.pages_read += self._pages
