"""The SQL objects of older versions, and the way from them to the newest."""

from typing import Any

import pytest
from psycopg import errors

from devstack.postgres import Postgres
from devstack.wait import wait_until
from tests.pg.conftest import MakeNeon

NEWEST = "1.2"
ADDED = {
    "1.0": {"worker_title", "worker_age", "request_in_flight", "events_lost"},
    "1.1": {"not_reloaded", "last_ack_result"},
}
"""Columns that the version after this one brought."""
OLD = list(ADDED)

OBJECTS = """
    SELECT pg_describe_object(classid, objid, 0) FROM pg_depend
    WHERE refclassid = 'pg_extension'::regclass AND deptype = 'e'
      AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'neon_refresh')
"""
COLUMNS = """
    SELECT attrelid::regclass::text, attnum, attname, format_type(atttypid, atttypmod)
    FROM pg_attribute WHERE attnum > 0 AND attrelid IN (
        SELECT oid FROM pg_class WHERE relnamespace = 'neon_refresh'::regnamespace)
"""
FUNCTIONS = """
    SELECT oid::regprocedure::text, pg_get_functiondef(oid), proacl::text
    FROM pg_proc WHERE pronamespace = 'neon_refresh'::regnamespace
"""
VIEWS = """
    SELECT oid::regclass::text, pg_get_viewdef(oid), relacl::text
    FROM pg_class WHERE relnamespace = 'neon_refresh'::regnamespace
"""


def everything(server: Postgres) -> dict[str, list[tuple[Any, ...]]]:
    """Return what the catalog knows of the extension."""
    found = {sql: server.query(sql) for sql in (OBJECTS, COLUMNS, FUNCTIONS, VIEWS)}
    return {sql: sorted(rows, key=str) for sql, rows in found.items()}


def columns_of_stat(server: Postgres) -> set[str]:
    """Return the names of the columns of the view."""
    return {row[2] for row in server.query(COLUMNS) if row[0] == "neon_refresh.stat"}


@pytest.fixture
def server(make_neon: MakeNeon) -> Postgres:
    """Return a server where the extension is not made yet."""
    server = make_neon()
    server.query("DROP EXTENSION neon_refresh")
    return server


def test_the_newest_is_the_default(server: Postgres) -> None:
    """CREATE EXTENSION gives the newest version."""
    server.query("CREATE EXTENSION neon_refresh")
    version = "SELECT extversion FROM pg_extension WHERE extname = 'neon_refresh'"
    assert NEWEST == server.value(version)


@pytest.mark.parametrize("old", OLD)
def test_an_update_makes_what_a_fresh_install_makes(server: Postgres, old: str) -> None:
    """After ALTER EXTENSION UPDATE no object, column, definition or privilege differs."""
    server.query("CREATE EXTENSION neon_refresh")
    fresh = everything(server)
    server.query("DROP EXTENSION neon_refresh")

    server.query(f"CREATE EXTENSION neon_refresh VERSION '{old}'")
    before = columns_of_stat(server)
    server.query("ALTER EXTENSION neon_refresh UPDATE")
    assert everything(server) == fresh
    added = set().union(*(ADDED[version] for version in OLD[OLD.index(old) :]))
    assert columns_of_stat(server) - before == added


@pytest.mark.parametrize("old", OLD)
def test_the_library_serves_older_objects(server: Postgres, old: str) -> None:
    """Between the new library and the update every view and function goes on working."""
    server.query(f"CREATE EXTENSION neon_refresh VERSION '{old}'")
    wait_until("the worker", lambda: server.value("SELECT worker_pid FROM neon_refresh.stat"))
    for view in ("stat", "shards", "events"):
        server.query(f"SELECT * FROM neon_refresh.{view}")
    assert server.value("SELECT neon_refresh.request('from the past')") is False  # no daemon
    with pytest.raises(errors.ObjectNotInPrerequisiteState, match="no pageserver is configured"):
        server.value("SELECT neon_refresh.read_page('t', 0)")


@pytest.mark.parametrize("old", OLD)
def test_an_update_takes_nothing_away(server: Postgres, old: str) -> None:
    """Grants of an administrator and views built upon ours outlive the update."""
    server.query(f"CREATE EXTENSION neon_refresh VERSION '{old}'")
    server.query('CREATE ROLE "the Watcher" LOGIN')
    server.query('GRANT USAGE ON SCHEMA neon_refresh TO "the Watcher"')
    server.query('GRANT SELECT ON neon_refresh.stat TO "the Watcher"')
    server.query('GRANT EXECUTE ON FUNCTION neon_refresh.stat_row() TO "the Watcher"')
    server.query("GRANT EXECUTE ON FUNCTION neon_refresh.stat_row() TO PUBLIC")
    server.query("CREATE VIEW mine AS SELECT shard_count FROM neon_refresh.stat")

    server.query("ALTER EXTENSION neon_refresh UPDATE")
    granted = server.query(
        "SELECT grantee::regrole::text FROM pg_proc, aclexplode(proacl) WHERE proname = 'stat_row'"
    )
    assert {("-",), ('"the Watcher"',)} <= set(granted)  # the minus stands for everybody
    with server.connect(user="the Watcher") as connection:
        row = connection.execute("SELECT worker_age FROM neon_refresh.stat").fetchone()
        assert row is not None
        with pytest.raises(errors.InsufficientPrivilege):
            connection.execute("SELECT * FROM neon_refresh.events")
    assert 0 == server.value("SELECT shard_count FROM mine")


def test_objects_of_the_future_are_refused(server: Postgres) -> None:
    """An old library that is still loaded under new SQL objects says what to do."""
    server.query("CREATE EXTENSION neon_refresh")
    server.query(
        "CREATE FUNCTION neon_refresh.tomorrow("
        + ", ".join(f"OUT c{n} int" for n in range(40))
        + ") RETURNS SETOF record AS '$libdir/neon_refresh', 'neon_refresh_stat_row' LANGUAGE c"
    )
    with pytest.raises(errors.ObjectNotInPrerequisiteState) as caught:
        server.query("SELECT * FROM neon_refresh.tomorrow()")
    assert caught.value.diag.message_hint is not None
    assert caught.value.diag.message_hint.startswith("Restart the server")
