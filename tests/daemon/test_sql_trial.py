"""Trying settings in a session that is kept, of a real server."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from compute_ctl.errors import ProbeError
from compute_ctl.sql.kept_session import KeptSession
from compute_ctl.sql.trial import SqlTrial
from devstack.postgres import Postgres, Template

NAME = "compute_ctl:test"
WITHIN_S = 20.0


@pytest.fixture(scope="module")
def server(template: Template) -> Iterator[Postgres]:
    """One server for all."""
    with Postgres(template, name="trial") as made:
        yield made.start()


@asynccontextmanager
async def kept(server: Postgres) -> AsyncIterator[KeptSession]:
    """Keep a session that is open."""
    session = KeptSession(server.dsn(), application_name=NAME)
    try:
        assert [("1",)] == await session.ask("SELECT 1", within_s=WITHIN_S)
        yield session
    finally:
        session.close()


def backend(server: Postgres, name: str = NAME) -> int | None:
    """Return the process of the session that is kept, None where there is none."""
    query = "SELECT max(pid) FROM pg_stat_activity WHERE application_name = %s"
    found: int | None = server.value(query, name)
    return found


async def test_good_values_leave_no_trace(server: Postgres) -> None:
    """All are taken, and the session runs as before, in the same process."""
    names = ("work_mem", "TimeZone", "log_min_messages", "search_path")
    show = "SELECT " + ", ".join(f"current_setting('{name}')" for name in names)
    async with kept(server) as session:
        before, pid = await session.ask(show, within_s=WITHIN_S), backend(server)
        tried = {
            "work_mem": "77MB",
            "timezone": "Asia/Tokyo",
            "log_min_messages": "debug1",
            "search_path": 'a, "b\'\\"',
        }
        assert await SqlTrial(session).accepts(tried, within_s=WITHIN_S)
        assert before == await session.ask(show, within_s=WITHIN_S)
        assert pid == backend(server)


@pytest.mark.parametrize(
    "settings",
    [
        {"work_mem": "1kB"},
        {"work_mem": "a lot"},
        {"work_mem": "5MB", "jit": "perhaps"},
        {"timezone": "Moon/Base"},
        {"max_stack_depth": "1000GB"},
    ],
    ids=str,
)
async def test_bad_values(server: Postgres, settings: dict[str, str]) -> None:
    """What the server refuses is not taken, and a further question is answered."""
    async with kept(server) as session:
        assert not await SqlTrial(session).accepts(settings, within_s=WITHIN_S)
        assert [("4MB",)] == await session.ask(
            "SELECT current_setting('work_mem')", within_s=WITHIN_S
        )


@pytest.mark.parametrize(
    "name",
    [
        "autovacuum_naptime",
        "shared_buffers",
        "log_connections",
        "ignore_system_indexes",
        "block_size",
        "no_such_setting",
    ],
)
async def test_other_contexts_are_not_tried(server: Postgres, name: str) -> None:
    """A session may not change them, so nothing is set, and the server logs no error."""
    position = server.log_position()
    async with kept(server) as session:
        assert not await SqlTrial(session).accepts({"work_mem": "1kB", name: "1"}, within_s=5)
        assert not server.log_contains("ERROR", start=position)


async def test_no_session(server: Postgres) -> None:
    """None is opened for a trial."""
    session = KeptSession(server.dsn(), application_name="compute_ctl:none")
    assert not await SqlTrial(session).accepts({"work_mem": "5MB"}, within_s=WITHIN_S)
    assert None is backend(server, "compute_ctl:none")


async def test_a_session_in_use(server: Postgres) -> None:
    """A trial does not wait for another question."""
    lock = "SELECT pg_advisory_lock(1)"
    async with kept(server) as session:
        with server.connect() as locker:
            locker.execute(lock)
            other = asyncio.create_task(session.ask(lock, within_s=WITHIN_S))
            await asyncio.sleep(0)
            assert not await SqlTrial(session).accepts({"work_mem": "5MB"}, within_s=WITHIN_S)
            assert not other.done()
        assert 1 == len(await other)


async def test_a_server_that_hangs(server: Postgres) -> None:
    """The trial ends in time, and the session is replaced for the next question."""
    async with kept(server) as session:
        pid = backend(server)
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        try:
            begun = time.monotonic()
            assert not await SqlTrial(session).accepts({"work_mem": "5MB"}, within_s=0.05)
            assert time.monotonic() - begun < 15
        finally:
            os.kill(pid, signal.SIGCONT)
        assert [(str(pid),)] != await session.ask("SELECT pg_backend_pid()", within_s=WITHIN_S)


async def test_a_session_that_was_ended(server: Postgres) -> None:
    """A lost connection is no consent, and no error."""
    async with kept(server) as session:
        server.query("SELECT pg_terminate_backend(%s, 5000)", backend(server))
        assert not await SqlTrial(session).accepts({"work_mem": "5MB"}, within_s=WITHIN_S)
        assert [("1",)] == await session.ask("SELECT 1", within_s=WITHIN_S)


async def test_an_error_closes_the_session(server: Postgres) -> None:
    """The next question gets a new one."""
    async with kept(server) as session:
        pid = backend(server)
        with pytest.raises(ProbeError, match="division by zero"):
            await session.ask("SELECT 1 / 0", within_s=WITHIN_S)
        assert [(str(pid),)] != await session.ask("SELECT pg_backend_pid()", within_s=WITHIN_S)
