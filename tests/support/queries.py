"""Queries that run while something happens: each in a thread, with a bounded wait for its end."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import psycopg

Connect = Callable[[], psycopg.Connection[tuple[Any, ...]]]


class Query:
    """One statement on a connection of its own that is being executed."""

    def __init__(self, pool: ThreadPoolExecutor, connect: Connect, sql: str) -> None:
        self.connection = connect()
        self.pid = self.connection.info.backend_pid
        self._future: Future[Any] = pool.submit(self._run, sql)

    def _run(self, sql: str) -> Any:
        row = self.connection.execute(sql.encode()).fetchone()
        return row[0] if row else None

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return not self._future.done()

    def value(self, timeout: float = 60.0) -> Any:
        """Return the first column of its first row.

        Raises TimeoutError, or the statement's error.
        """
        return self._future.result(timeout)

    def error(self, timeout: float = 60.0) -> psycopg.Error:
        """Return the error it must end with."""
        found = self._future.exception(timeout)
        assert isinstance(found, psycopg.Error), f"expected an error, got {found!r}"
        return found


@contextmanager
def running_queries(connect: Connect) -> Iterator[Callable[[str], Query]]:
    """Return a function that starts queries; their connections are closed at the end."""
    queries: list[Query] = []
    with ThreadPoolExecutor(max_workers=16, thread_name_prefix="query") as pool:

        def start(sql: str) -> Query:
            query = Query(pool, connect, sql)
            queries.append(query)
            return query

        try:
            yield start
        finally:
            for query in queries:
                if query.running:
                    query.connection.cancel_safe(timeout=30)
            for query in queries:
                query.connection.close()
