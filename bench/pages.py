"""Pages read through SQL, and by a libpq client that does nothing with them."""

import json
import os
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg

from bench.comparison import Row, Sample, compare_samples, take_turns
from bench.pagestream import must_connect, page_requests, read_page
from devstack.postgres import Postgres


def in_own_session(step: Callable[[], Sample]) -> Sample:
    """Run *step* in a child with a session of its own.

    Every server process has one, and the kernel may share the processor out by sessions: a client
    in the session of the pageserver would have the advantage.
    """
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setsid()
            os.write(writing, json.dumps(step()).encode())
        except BaseException:  # noqa: BLE001 - nothing of the parent may run in the child
            traceback.print_exc()
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        text = pipe.read()
    os.waitpid(pid, 0)
    if not text:
        raise RuntimeError("the child failed, see above")
    rate, cpu_us = json.loads(text)
    return rate, cpu_us


class PlainClient:
    """Asks for the pages of a table over libpq, one after the other."""

    def __init__(self, url: str, server: Postgres, table: str, pages: int) -> None:
        self._stream = must_connect(url)
        self._requests = page_requests(server, table, pages)

    def read(self) -> Sample:
        """Read every page once."""
        begun, cpu = time.perf_counter(), time.process_time()
        for request in self._requests:
            read_page(self._stream, request)
        taken, cpu = time.perf_counter() - begun, time.process_time() - cpu
        return len(self._requests) / taken, cpu / len(self._requests) * 1e6

    def close(self) -> None:
        """End the stream."""
        self._stream.finish()


class SqlClient:
    """A session that reads the pages of a table by SQL."""

    def __init__(
        self, session: psycopg.Connection[tuple[Any, ...]], table: str, pages: int
    ) -> None:
        self._session = session
        self._pages = pages
        self._pid = session.info.backend_pid
        self._query = (
            f"select count(neon_refresh.read_page('{table}', block)) "
            f"from generate_series(0, {pages - 1}) as block"
        ).encode()

    def _cpu_s(self) -> float:
        return int(Path(f"/proc/{self._pid}/schedstat").read_text().split()[0]) / 1e9

    def read(self) -> Sample:
        """Read every page once."""
        begun, cpu = time.perf_counter(), self._cpu_s()
        if self._session.execute(self._query).fetchone() != (self._pages,):
            raise RuntimeError("not every page was read")
        taken, cpu = time.perf_counter() - begun, self._cpu_s() - cpu
        return self._pages / taken, cpu / self._pages * 1e6


def measure_pages(server: Postgres, url: str, table: str, pages: int, rounds: int) -> list[Row]:
    """Compare pages through SQL and through bare libpq."""
    pages = min(pages, server.value(f"select pg_relation_size('{table}') / 8192"))
    plain = PlainClient(url, server, table, pages)
    with server.connect() as session:
        sql = SqlClient(session, table, pages)
        sql.read()
        found = take_turns(rounds, sql.read, lambda: in_own_session(plain.read))
    plain.close()
    return compare_samples("pages", *found)
