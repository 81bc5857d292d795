"""Catalog work on a real server gets done, whatever users have put in its way."""

import time
from collections.abc import Iterator

import pytest

from compute_ctl.catalog.executor import PlanExecutor
from compute_ctl.errors import CatalogError
from devstack.postgres import Postgres, Template
from devstack.wait import wait_until
from tests.daemon.catalog_work import apply, databases, desired, roles


@pytest.fixture(scope="module")
def server(template: Template) -> Iterator[Postgres]:
    """One server for the tests of this file; each uses names of its own."""
    with Postgres(template, name="obstacles") as made:
        made.configure({"wal_level": "logical"})
        yield made.start()


def test_drop_database_with_active_subscription(server: Postgres) -> None:
    """A database whose subscription runs is dropped all the same."""
    apply(
        server,
        desired(roles=("pub_owner",), databases=(("pub", "pub_owner"), ("sub", "pub_owner"))),
    )
    with server.connect(dbname="pub") as session:
        session.execute("CREATE TABLE t (a int PRIMARY KEY)")
        session.execute("CREATE PUBLICATION p FOR TABLE t")
        session.execute("SELECT pg_create_logical_replication_slot('s', 'pgoutput')")
    with server.connect(dbname="sub") as session:
        session.execute("CREATE TABLE t (a int PRIMARY KEY)")
        session.execute(
            f"CREATE SUBSCRIPTION s CONNECTION '{server.dsn('pub')}' PUBLICATION p"
            " WITH (create_slot = false)"
        )
    wait_until(
        "the subscription to stream",
        lambda: server.value("SELECT count(*) FROM pg_stat_replication"),
    )
    apply(server, desired(deltas=(("delete_db", "sub"),)))
    assert "sub" not in databases(server)


def test_drop_role_with_grants_from_others(server: Postgres) -> None:
    """A role goes with what it owns and what others than the owner have granted to it."""
    apply(server, desired(roles=("owner", "granter", "doomed"), databases=(("granted", "owner"),)))
    with server.connect(dbname="granted") as session:
        for statement in (
            "CREATE TABLE public.t (a int, b int)",
            "ALTER TABLE public.t OWNER TO owner",
            "GRANT ALL ON public.t TO granter WITH GRANT OPTION",
            "GRANT USAGE ON SCHEMA public TO granter WITH GRANT OPTION",
            "SET ROLE granter",
            "GRANT SELECT ON public.t TO doomed",
            "GRANT UPDATE (b) ON public.t TO doomed",
            "GRANT USAGE ON SCHEMA public TO doomed",
            "RESET ROLE",
            "GRANT CREATE ON SCHEMA public TO doomed",
            "SET ROLE doomed",
            "CREATE TABLE public.of_doomed (a int)",
        ):
            session.execute(statement.encode())
    apply(server, desired(databases=(("granted", "owner"),), deltas=(("delete_role", "doomed"),)))
    assert "doomed" not in roles(server)
    with server.connect(dbname="granted") as session:
        row = session.execute(
            "SELECT relowner::regrole::name FROM pg_class WHERE relname = 'of_doomed'"
        ).fetchone()
    assert ("owner",) == row


def test_drop_role_without_schema_public(server: Postgres) -> None:
    """A database whose schema public is gone is worked on all the same."""
    apply(server, desired(roles=("bare_owner", "bare_doomed"), databases=(("bare", "bare_owner"),)))
    with server.connect(dbname="bare") as session:
        session.execute("DROP SCHEMA public CASCADE")
    target = desired(databases=(("bare", "bare_owner"),), deltas=(("delete_role", "bare_doomed"),))
    apply(server, target)
    assert "bare_doomed" not in roles(server)


def test_hostile_settings_do_not_disturb(server: Postgres) -> None:
    """Whatever has been set for a database, the work is done in it."""
    apply(server, desired(roles=("hostile", "hostile_doomed"), databases=(("evil", "hostile"),)))
    with server.connect() as session:
        for setting in (
            "role = 'hostile'",
            "default_transaction_read_only = on",
            "search_path = evil",
            "statement_timeout = 1",
            "lock_timeout = 1",
            "standard_conforming_strings = off",
            "default_transaction_isolation = serializable",
        ):
            session.execute(f"ALTER DATABASE evil SET {setting}".encode())
    target = desired(databases=(("evil", "hostile"),), deltas=(("delete_role", "hostile_doomed"),))
    apply(server, target)
    assert "hostile_doomed" not in roles(server)


def test_database_without_connections_is_left_out(server: Postgres) -> None:
    """A database that nobody may connect to costs no failure."""
    apply(server, desired(roles=("closed_owner",), databases=(("closed", "closed_owner"),)))
    server.query("ALTER DATABASE closed ALLOW_CONNECTIONS false")
    apply(server, desired(databases=(("closed", "closed_owner"),)))


def test_invalid_database_is_made_anew(server: Postgres) -> None:
    """What an interrupted DROP DATABASE has left is dropped, and created if it is wanted."""
    target = desired(roles=("half_owner",), databases=(("half", "half_owner"),))
    apply(server, target)
    oid = server.value("SELECT oid FROM pg_database WHERE datname = 'half'")
    server.query("UPDATE pg_database SET datconnlimit = -2 WHERE datname = 'half'")
    apply(server, target)
    assert server.value("SELECT oid FROM pg_database WHERE datname = 'half'") != oid


def test_template_database_is_dropped(server: Postgres) -> None:
    """A database that was made a template can be deleted."""
    apply(server, desired(roles=("tpl_owner",), databases=(("tpl", "tpl_owner"),)))
    server.query("ALTER DATABASE tpl IS_TEMPLATE true")
    apply(server, desired(deltas=(("delete_db", "tpl"),)))
    assert "tpl" not in databases(server)


def test_lock_in_the_way_ends_at_the_deadline(server: Postgres) -> None:
    """A statement that waits for somebody ends with the deadline, here and on the server."""
    apply(server, desired(roles=("locked",)))
    with server.connect(autocommit=False) as session:
        session.execute("LOCK TABLE pg_auth_members IN ACCESS EXCLUSIVE MODE")
        begun = time.monotonic()
        with pytest.raises(CatalogError):
            PlanExecutor(
                connstr=server.conninfo, deadline=begun + 1, privileged="neon_superuser"
            ).run(desired(roles=("unlocked",)))
        assert time.monotonic() - begun < 15
    wait_until(
        "no session of ours",
        lambda: server.value(
            "SELECT count(*) = 0 FROM pg_stat_activity WHERE application_name LIKE 'compute_ctl%'"
        ),
    )
