"""Neon's migrations on a real server: each takes effect once, whoever has run those before."""

import time
from collections.abc import Iterator

import pytest

from compute_ctl.catalog.migrations import MIGRATIONS, migrate
from compute_ctl.errors import MigrationError
from devstack.postgres import Postgres, Template

LAST = 12
REACHED = "SELECT id FROM neon_migration.migration_id WHERE key = 0"
BYPASSES = "SELECT rolbypassrls FROM pg_roles WHERE rolname = %s"


@pytest.fixture
def server(template: Template) -> Iterator[Postgres]:
    """A server with the role that the migrations are about, as an old Neon made it."""
    with Postgres(template, name="migrations") as made:
        made.start()
        made.query("CREATE ROLE neon_superuser CREATEDB CREATEROLE NOLOGIN")
        yield made


def run(server: Postgres, privileged: str = "neon_superuser") -> int:
    """Run what is missing; return how many that were."""
    return migrate(server.dsn(), deadline=time.monotonic() + 20, privileged=privileged)


def test_all_on_a_new_cluster(server: Postgres) -> None:
    """The role gets its attribute, its memberships and its functions; others see nothing of it."""
    assert LAST == len(MIGRATIONS) == run(server)
    assert LAST == server.value(REACHED)
    assert server.value(BYPASSES, "neon_superuser") is True
    memberships = server.query(
        "SELECT roleid::regrole::text, admin_option FROM pg_auth_members"
        " WHERE member = 'neon_superuser'::regrole ORDER BY 1"
    )
    assert [("pg_monitor", True), ("pg_signal_backend", True)] == [
        one for one in memberships if one[0] != "pg_create_subscription"
    ]
    function = "pg_show_replication_origin_status()"
    assert server.value(f"SELECT has_function_privilege('neon_superuser', '{function}', 'execute')")
    newer = server.value("SELECT current_setting('server_version_num')::int >= 160000")
    assert newer == (len(memberships) == 3)
    public = (
        "SELECT count(*) FROM pg_namespace, aclexplode(nspacl) WHERE nspname = %s AND grantee = 0"
    )
    assert 0 == server.value(public, "neon_migration")


def test_each_takes_effect_once(server: Postgres) -> None:
    """What somebody has taken back since then is left alone."""
    run(server)
    server.query("ALTER ROLE neon_superuser NOBYPASSRLS")
    assert (0, False) == (run(server), server.value(BYPASSES, "neon_superuser"))


def test_where_neon_has_left_off(server: Postgres) -> None:
    """A cluster that has had eleven gets the twelfth; one that is ahead of us gets none."""
    run(server)
    server.query("REVOKE pg_monitor, pg_signal_backend FROM neon_superuser")
    server.query("UPDATE neon_migration.migration_id SET id = 11")
    assert 1 == run(server)
    found = server.query(
        "SELECT roleid::regrole::text FROM pg_auth_members WHERE member = 'neon_superuser'::regrole"
        " AND roleid::regrole::text <> 'pg_create_subscription'"
    )
    assert [("pg_signal_backend",)] == found
    server.query("UPDATE neon_migration.migration_id SET id = 40")
    assert (0, 40) == (run(server), server.value(REACHED))


def test_failure_ends_the_run(server: Postgres) -> None:
    """The one that fails leaves nothing behind, those before it stay, and it can be run again."""
    run(server)
    server.query("UPDATE neon_migration.migration_id SET id = 2")
    server.query("REVOKE pg_monitor FROM neon_superuser")
    server.query(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$"
        " BEGIN IF NEW.id = 4 THEN RAISE 'not today'; END IF; RETURN NEW; END $$"
    )
    server.query(
        "CREATE TRIGGER refuse BEFORE UPDATE ON neon_migration.migration_id"
        " FOR EACH ROW EXECUTE FUNCTION public.refuse()"
    )
    with pytest.raises(MigrationError, match=r"could not run migration 4: .*not today") as failure:
        run(server)
    member = "SELECT pg_has_role('neon_superuser', 'pg_monitor', 'member')"
    assert (4, 3, False) == (failure.value.number, server.value(REACHED), server.value(member))
    server.query("DROP TRIGGER refuse ON neon_migration.migration_id")
    assert (9, True) == (run(server), server.value(member))


def test_foreign_roles_of_a_stock_cluster_are_left_alone(server: Postgres) -> None:
    """BYPASSRLS is only taken from roles outside where the whole cluster is Neon's."""
    server.query("CREATE ROLE backup BYPASSRLS")
    server.query("CREATE ROLE member NOINHERIT IN ROLE neon_superuser")
    run(server)
    inherits = "SELECT rolinherit FROM pg_roles WHERE rolname = 'member'"
    assert (True, True) == (server.value(BYPASSES, "backup"), server.value(inherits))

    name = server.value("SELECT rolname FROM pg_roles WHERE oid = 10")
    server.query("CREATE ROLE renamer SUPERUSER LOGIN")
    with server.connect() as session:
        session.execute("SET SESSION AUTHORIZATION renamer")
        session.execute(f'ALTER ROLE "{name}" RENAME TO cloud_admin')
        session.execute("UPDATE neon_migration.migration_id SET id = 1")
        migrate(
            f"{server.dsn()} user=renamer",
            deadline=time.monotonic() + 20,
            privileged="neon_superuser",
        )
        rows = session.execute(BYPASSES, ("backup",)).fetchall()
        session.execute(f'ALTER ROLE cloud_admin RENAME TO "{name}"')
    assert [(False,)] == rows


def test_without_the_role_there_is_nothing_to_do(server: Postgres) -> None:
    """A cluster whose documents name no such role is not touched."""
    assert 0 == run(server, privileged="nobody_there")
    assert 0 == server.value("SELECT count(*) FROM pg_namespace WHERE nspname = 'neon_migration'")


def test_a_damaged_record_is_said(server: Postgres) -> None:
    """A record that somebody has made negative is named, and no migration runs."""
    run(server)
    server.query("UPDATE neon_migration.migration_id SET id = -3")
    with pytest.raises(MigrationError, match=r'"neon_migration.migration_id" is damaged: id "-3"'):
        run(server)
