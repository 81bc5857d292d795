"""The extensions of a real server are counted in all its databases, and never in the way."""

import threading
from collections.abc import Iterator, Mapping

import psycopg
import pytest

from compute_ctl.monitoring.extensions import ExtensionCount
from compute_ctl.monitoring.neon_metrics import Installed
from devstack.postgres import Postgres, Template


@pytest.fixture(scope="module")
def server(template: Template) -> Iterator[Postgres]:
    """A server with three databases that can be counted and one that cannot."""
    with Postgres(template, name="extensions") as made:
        made.start()
        made.query("CREATE ROLE owner CREATEDB")
        for name in ("one", "two", "closed"):
            made.query(f"CREATE DATABASE {name}")
        made.query("ALTER DATABASE closed ALLOW_CONNECTIONS false")
        with psycopg.connect(made.dsn("two")) as session:
            session.execute("DROP EXTENSION plpgsql")
        with psycopg.connect(made.dsn("one")) as session:
            session.execute("UPDATE pg_extension SET extowner = 'owner'::regrole")
        yield made


async def count(
    server: Postgres, *, quiet: list[bool] | None = None, total_s: float = 20.0
) -> list[Mapping[Installed, int]]:
    """Count once; return what was told."""
    told: list[Mapping[Installed, int]] = []
    counter = ExtensionCount(
        connstr=server.dsn(),
        quiet=(lambda: quiet.pop(0)) if quiet is not None else lambda: True,
        on_extensions=told.append,
        interval_s=lambda: 60.0,
        total_s=total_s,
    )
    await counter.count()
    return told


async def test_databases_are_counted(server: Postgres) -> None:
    """By version and kind of owner; a database that lets nobody in is left out."""
    version = server.value("SELECT extversion FROM pg_extension WHERE extname = 'plpgsql'")
    assert [
        {("plpgsql", version, True): 2, ("plpgsql", version, False): 1}  # postgres, template1; one
    ] == await count(server)


async def test_stops_when_something_else_is_wanted(server: Postgres) -> None:
    """Between two databases it looks, and a count that is not complete is not shown."""
    left = [True, True, False]
    assert ([], []) == (await count(server, quiet=left), left)


async def test_the_node_is_only_looked_at_by_the_event_loop(server: Postgres) -> None:
    """Whether all is quiet is asked in its thread: nothing of the node is safe in another."""
    threads: list[threading.Thread] = []

    def quiet() -> bool:
        threads.append(threading.current_thread())
        return True

    counter = ExtensionCount(
        connstr=server.dsn(),
        quiet=quiet,
        on_extensions=lambda _: None,
        interval_s=lambda: 60.0,
    )
    await counter.count()

    assert {threading.main_thread()} == set(threads)


async def test_hanging_server_is_left_at_the_deadline(server: Postgres) -> None:
    """A count that waits for a lock ends, and nothing is shown."""
    with server.connect(autocommit=False) as session:
        session.execute("LOCK TABLE pg_extension IN ACCESS EXCLUSIVE MODE")
        assert [] == await count(server, total_s=1.0)
