"""Catalog work on a real server: what documents want is there, whatever is in the way."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import msgspec
import pytest

from compute_ctl.catalog.executor import Executor
from compute_ctl.catalog.wanted import Wanted
from compute_ctl.document.spec import decode_document
from compute_ctl.errors import CatalogError
from devstack.postgres import Postgres, Template
from devstack.wait import wait_until

SECRET = "c3RvcmVka2V5c3RvcmVka2V5c3RvcmVka2V5c3RvcmU="
SCRAM = f"SCRAM-SHA-256$4096:c2FsdHNhbHQ=${SECRET}:{SECRET}"
NAMES = (
    "plain",
    'double"quote',
    "single'quote",
    "back\\slash",
    "tab\there",
    "$x$",
    "$$dollar$x$",
    "CamelCase",
    "with space",
    "elephant🐘",
    "percent%s%I",
    "brace{0}",
    "semi;colon--",
    "x" * 63,
    "🐘" * 15 + "abc",
)


@pytest.fixture(scope="module")
def server(template: Template) -> Iterator[Postgres]:
    """One server for the tests of this file; each uses names of its own."""
    with Postgres(template, name="catalog") as made:
        made.configure({"wal_level": "logical", "log_statement": "all"})
        yield made.start()


def wanted(
    *,
    roles: tuple[Any, ...] = (),
    databases: tuple[Any, ...] = (),
    deltas: tuple[tuple[str, ...], ...] = (),
    **spec: Any,
) -> Wanted:
    """What such a document wants; a role is its name or an object, a database (name, owner)."""
    document = {
        "spec": {
            "cluster": {
                "roles": [{"name": one} if isinstance(one, str) else one for one in roles],
                "databases": [
                    {"name": one[0], "owner": one[1]} if isinstance(one, tuple) else one
                    for one in databases
                ],
            },
            "delta_operations": [
                dict(zip(("action", "name", "new_name"), delta, strict=False)) for delta in deltas
            ],
            **spec,
        }
    }
    found = Wanted.of(decode_document(msgspec.json.encode(document)))
    assert found is not None
    return found


def apply(server: Postgres, wish: Wanted, *, within_s: float = 30, concurrency: int = 2) -> int:
    """Do the work; return how many steps it took."""
    executor = Executor(
        connstr=server.dsn(),
        deadline=time.monotonic() + within_s,
        privileged="neon_superuser",
        concurrency=concurrency,
    )
    assert executor.run(wish)
    return executor.done


def databases(server: Postgres) -> dict[str, str]:
    """Owner of each database."""
    return dict(server.query("SELECT datname, pg_get_userbyid(datdba) FROM pg_database"))


def roles(server: Postgres) -> set[str]:
    """All roles."""
    return {name for (name,) in server.query("SELECT rolname FROM pg_roles")}


def test_any_name_works(server: Postgres) -> None:
    """Roles and databases of any name are made with the right owner, and dropped again."""
    apply(server, wanted(roles=NAMES, databases=tuple((name, name) for name in NAMES)))
    assert {name: name for name in NAMES} == {
        name: owner for name, owner in databases(server).items() if name in NAMES
    }
    drops = [("delete_db", name) for name in NAMES] + [("delete_role", name) for name in NAMES]
    apply(server, wanted(deltas=tuple(drops)))
    assert set() == (roles(server) | set(databases(server))) & set(NAMES)


def test_second_run_makes_nothing_anew(server: Postgres) -> None:
    """Work that is done is not planned again."""
    wish = wanted(roles=("twice_role",), databases=(("twice_db", "twice_role"),))
    apply(server, wish)
    before = server.query("SELECT oid, datname FROM pg_database ORDER BY 1")
    apply(server, wish)
    assert before == server.query("SELECT oid, datname FROM pg_database ORDER BY 1")


def test_role_has_password_and_privileges(server: Postgres) -> None:
    """A new role can log in, is in the privileged role, and has the verifier as given."""
    md5 = "0123456789abcdef0123456789abcdef"
    options = [{"name": "CONNECTION LIMIT", "value": "7", "vartype": "integer"}]
    apply(
        server,
        wanted(
            roles=(
                {"name": "with_scram", "encrypted_password": SCRAM, "options": options},
                {"name": "with_md5", "encrypted_password": md5},
                {"name": "no_login", "options": [{"name": "NOLOGIN", "vartype": "bool"}]},
            )
        ),
    )
    found = {
        row[0]: row[1:]
        for row in server.query(
            "SELECT rolname, rolpassword, rolcanlogin, rolcreatedb, rolbypassrls, rolconnlimit,"
            " pg_has_role(oid, 'neon_superuser', 'member') FROM pg_authid"
        )
    }
    assert found["with_scram"] == (SCRAM, True, True, True, 7, True)
    assert found["with_md5"] == (f"md5{md5}", True, True, True, -1, True)
    assert found["no_login"] == (None, False, True, True, -1, True)


def test_password_changes_and_goes(server: Postgres) -> None:
    """An existing role gets the password of the document, or loses it."""
    role = {"name": "fickle", "encrypted_password": SCRAM}
    for wish, expected in ((role, SCRAM), ({"name": "fickle"}, None), (role, SCRAM)):
        apply(server, wanted(roles=(wish,)))
        assert expected == server.value(
            "SELECT rolpassword FROM pg_authid WHERE rolname = 'fickle'"
        )


def test_renames_are_idempotent(server: Postgres) -> None:
    """A rename that is done is nothing to do; a role keeps what it owns."""
    first = wanted(roles=("old_role",), databases=(("old_db", "old_role"),))
    apply(server, first)
    oids = server.query("SELECT oid FROM pg_roles WHERE rolname = 'old_role'")
    deltas = (("rename_role", "old_role", "new_role"), ("rename_db", "old_db", "new_db"))
    wish = wanted(roles=("new_role",), databases=(("new_db", "new_role"),), deltas=deltas)
    with server.connect(dbname="old_db"):  # a session in the way
        apply(server, wish)
    apply(server, wish)
    assert "new_role" == databases(server)["new_db"]
    assert "old_db" not in databases(server)
    assert oids == server.query("SELECT oid FROM pg_roles WHERE rolname = 'new_role'")


def test_drop_of_what_is_not_there(server: Postgres) -> None:
    """A database or role that is gone already is no failure."""
    apply(server, wanted(deltas=(("delete_db", "never_db"), ("delete_role", "never_role"))))


def test_drop_database_with_active_subscription(server: Postgres) -> None:
    """A database whose subscription runs is dropped all the same."""
    apply(
        server, wanted(roles=("pub_owner",), databases=(("pub", "pub_owner"), ("sub", "pub_owner")))
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
    apply(server, wanted(deltas=(("delete_db", "sub"),)))
    assert "sub" not in databases(server)


def test_subscriptions_are_dropped_once_a_timeline(server: Postgres) -> None:
    """Where a branch asks for it, subscriptions go at the first run of its timeline only."""
    apply(server, wanted(roles=("so",), databases=(("once", "so"),)))

    def subscribe() -> None:
        with server.connect(dbname="once") as session:
            session.execute(
                "CREATE SUBSCRIPTION o CONNECTION 'host=127.0.0.1 port=1 dbname=x' PUBLICATION p"
                " WITH (connect = false)"
            )

    subscribe()
    wish = wanted(
        databases=(("once", "so"),), drop_subscriptions_before_start=True, timeline_id="ab" * 16
    )
    count = "SELECT count(*) FROM pg_subscription WHERE subname = 'o'"
    apply(server, wish)
    assert 0 == server.value(count)
    subscribe()
    apply(server, wish)
    assert 1 == server.value(count)
    apply(server, wanted(deltas=(("delete_db", "once"),)))


def test_drop_role_with_grants_from_others(server: Postgres) -> None:
    """A role goes with what it owns and what others than the owner have granted to it."""
    apply(server, wanted(roles=("owner", "granter", "doomed"), databases=(("granted", "owner"),)))
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
    apply(server, wanted(databases=(("granted", "owner"),), deltas=(("delete_role", "doomed"),)))
    assert "doomed" not in roles(server)
    with server.connect(dbname="granted") as session:
        row = session.execute(
            "SELECT relowner::regrole::name FROM pg_class WHERE relname = 'of_doomed'"
        ).fetchone()
    assert row == ("owner",)


def test_drop_role_without_schema_public(server: Postgres) -> None:
    """A database whose schema public is gone is worked on all the same."""
    apply(server, wanted(roles=("bare_owner", "bare_doomed"), databases=(("bare", "bare_owner"),)))
    with server.connect(dbname="bare") as session:
        session.execute("DROP SCHEMA public CASCADE")
    wish = wanted(databases=(("bare", "bare_owner"),), deltas=(("delete_role", "bare_doomed"),))
    apply(server, wish)
    assert "bare_doomed" not in roles(server)


def test_hostile_settings_do_not_disturb(server: Postgres) -> None:
    """Whatever has been set for a database, the work is done in it."""
    apply(server, wanted(roles=("hostile", "hostile_doomed"), databases=(("evil", "hostile"),)))
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
    wish = wanted(databases=(("evil", "hostile"),), deltas=(("delete_role", "hostile_doomed"),))
    apply(server, wish)
    assert "hostile_doomed" not in roles(server)


def test_database_without_connections_is_left_out(server: Postgres) -> None:
    """A database that nobody may connect to costs no failure."""
    apply(server, wanted(roles=("closed_owner",), databases=(("closed", "closed_owner"),)))
    server.query("ALTER DATABASE closed ALLOW_CONNECTIONS false")
    apply(server, wanted(databases=(("closed", "closed_owner"),)))


def test_invalid_database_is_made_anew(server: Postgres) -> None:
    """What an interrupted DROP DATABASE has left is dropped, and created if it is wanted."""
    wish = wanted(roles=("half_owner",), databases=(("half", "half_owner"),))
    apply(server, wish)
    oid = server.value("SELECT oid FROM pg_database WHERE datname = 'half'")
    server.query("UPDATE pg_database SET datconnlimit = -2 WHERE datname = 'half'")
    apply(server, wish)
    assert server.value("SELECT oid FROM pg_database WHERE datname = 'half'") != oid


def test_template_database_is_dropped(server: Postgres) -> None:
    """A database that was made a template can be deleted."""
    apply(server, wanted(roles=("tpl_owner",), databases=(("tpl", "tpl_owner"),)))
    server.query("ALTER DATABASE tpl IS_TEMPLATE true")
    apply(server, wanted(deltas=(("delete_db", "tpl"),)))
    assert "tpl" not in databases(server)


def test_failure_does_not_stop_its_phase(server: Postgres) -> None:
    """One impossible database is an error in the end; the others of its phase are made."""
    wish = wanted(
        roles=("phase_owner",),
        databases=(("phase_a", "nobody_at_all"), ("phase_b", "phase_owner")),
    )
    with pytest.raises(CatalogError, match=r'could not create database "phase_a": .*nobody_at_all'):
        apply(server, wish)
    assert "phase_b" in databases(server)


def test_password_is_nowhere(server: Postgres, caplog: pytest.LogCaptureFixture) -> None:
    """No verifier reaches the server's log, our log, or an error."""
    caplog.set_level("DEBUG")
    position = server.log_position()
    bad = {
        "name": "leaky",
        "encrypted_password": SCRAM,
        "options": [{"name": "CONNECTION LIMIT", "value": "many", "vartype": "integer"}],
    }
    with pytest.raises(CatalogError) as caught:
        apply(server, wanted(roles=(bad,)))
    apply(server, wanted(roles=({"name": "leaky", "encrypted_password": SCRAM},)))
    text = f"{caught.value}{caplog.text}{server.log_text(position)}"
    assert (SECRET in text, "leaky" in text) == (False, True)


def test_lock_in_the_way_ends_at_the_deadline(server: Postgres) -> None:
    """A statement that waits for somebody ends with the deadline, here and on the server."""
    apply(server, wanted(roles=("locked",)))
    with server.connect(autocommit=False) as session:
        session.execute("LOCK TABLE pg_auth_members IN ACCESS EXCLUSIVE MODE")
        begun = time.monotonic()
        with pytest.raises(CatalogError):
            Executor(connstr=server.conninfo, deadline=begun + 1, privileged="neon_superuser").run(
                wanted(roles=("unlocked",))
            )
        assert time.monotonic() - begun < 3
    wait_until(
        "no session of ours",
        lambda: server.value(
            "SELECT count(*) = 0 FROM pg_stat_activity WHERE application_name LIKE 'compute_ctl%'"
        ),
    )


@pytest.mark.parametrize("concurrency", [0, 2])
def test_concurrency_is_bounded(server: Postgres, concurrency: int) -> None:
    """No more databases are worked on at once than asked for; 0 means one."""
    owner, begun = f"many_{concurrency}", max(concurrency, 1)
    many = tuple((f"many_{concurrency}_{number}", owner) for number in range(3))
    apply(server, wanted(roles=(owner,), databases=many))
    busy = (
        "SELECT datname FROM pg_stat_activity WHERE datname LIKE 'many_%'"
        " AND application_name = 'compute_ctl:apply_config'"
    )
    with ThreadPoolExecutor(1) as pool:
        with ExitStack() as locks:
            for name, _ in many:
                session = locks.enter_context(server.connect(dbname=name, autocommit=False))
                session.execute("LOCK TABLE pg_default_acl IN ACCESS EXCLUSIVE MODE")
            work = pool.submit(apply, server, wanted(databases=many), concurrency=concurrency)
            waiting = f"{busy} AND wait_event_type = 'Lock' ORDER BY 1"
            expected = [(name,) for name, _ in many[:begun]]
            wait_until("work to wait", lambda: server.query(waiting) == expected)
            assert expected == server.query(f"{busy} ORDER BY 1")
        assert work.result(20) > 0
