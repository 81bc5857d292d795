"""Pages read through SQL, and by a libpq client that does nothing with them."""

import json
import os
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
from psycopg import pq

from bench.comparison import Row, Sample, compare_samples, take_turns
from devstack.compute import TENANT, TIMELINE
from devstack.postgres import Postgres
from pg_hook.pagestream import Request, RequestType, encode_request, pagestream_query

TABLESPACE_OID = 1663  # pg_default
PAGE_ANSWER = 102


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
    """A pagestream over libpq that asks for the pages of a table, one after the other."""

    def __init__(self, url: str, server: Postgres, table: str, pages: int) -> None:
        self._pg = pq.PGconn.connect(url.encode())
        if self._pg.status != pq.ConnStatus.OK:
            raise RuntimeError(f"no connection to the pageserver: {self._pg.get_error_message()}")
        result = self._pg.exec_(pagestream_query(TENANT, TIMELINE).encode())
        if result.status != pq.ExecStatus.COPY_BOTH:
            raise RuntimeError(f"no pagestream: {result.get_error_message()}")
        database = server.value("select oid::int from pg_database where datname = 'postgres'")
        node = server.value(f"select pg_relation_filenode('{table}')::int")
        self._messages = [
            encode_request(
                Request(
                    type=RequestType.GET_PAGE,
                    request_id=block + 1,
                    tablespace_oid=TABLESPACE_OID,
                    database_oid=database,
                    rel_number=node,
                    block=block,
                )
            )
            for block in range(pages)
        ]

    def read(self) -> Sample:
        """Read every page once."""
        begun, cpu = time.perf_counter(), time.process_time()
        for message in self._messages:
            self._pg.put_copy_data(message)
            self._pg.flush()
            _, data = self._pg.get_copy_data(0)
            if data[0] != PAGE_ANSWER:
                raise RuntimeError(f"no page, but {bytes(data)[:100]!r}")
        taken, cpu = time.perf_counter() - begun, time.process_time() - cpu
        return len(self._messages) / taken, cpu / len(self._messages) * 1e6

    def close(self) -> None:
        """End the stream."""
        self._pg.finish()


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
