"""Catalog work on a real server: what documents want is there."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from compute_ctl.errors import CatalogError
from devstack.postgres import Postgres, Template
from devstack.wait import wait_until
from tests.daemon.catalog_work import apply, databases, desired, roles

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


def test_any_name_works(server: Postgres) -> None:
    """Roles and databases of any name are made with the right owner, and dropped again."""
    apply(server, desired(roles=NAMES, databases=tuple((name, name) for name in NAMES)))
    assert {name: name for name in NAMES} == {
        name: owner for name, owner in databases(server).items() if name in NAMES
    }
    drops = [("delete_db", name) for name in NAMES] + [("delete_role", name) for name in NAMES]
    apply(server, desired(deltas=tuple(drops)))
    assert set() == (roles(server) | set(databases(server))) & set(NAMES)


def test_second_run_makes_nothing_anew(server: Postgres) -> None:
    """Work that is done is not planned again."""
    target = desired(roles=("twice_role",), databases=(("twice_db", "twice_role"),))
    apply(server, target)
    before = server.query("SELECT oid, datname FROM pg_database ORDER BY 1")
    apply(server, target)
    assert before == server.query("SELECT oid, datname FROM pg_database ORDER BY 1")


def test_role_has_password_and_privileges(server: Postgres) -> None:
    """A new role can log in, is in the privileged role, and has the verifier as given."""
    md5 = "0123456789abcdef0123456789abcdef"
    options = [{"name": "CONNECTION LIMIT", "value": "7", "vartype": "integer"}]
    apply(
        server,
        desired(
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
    assert (SCRAM, True, True, True, 7, True) == found["with_scram"]
    assert found["with_md5"] == (f"md5{md5}", True, True, True, -1, True)
    assert (None, False, True, True, -1, True) == found["no_login"]


def test_password_changes_and_goes(server: Postgres) -> None:
    """An existing role gets the password of the document, or loses it."""
    role = {"name": "fickle", "encrypted_password": SCRAM}
    for target, expected in ((role, SCRAM), ({"name": "fickle"}, None), (role, SCRAM)):
        apply(server, desired(roles=(target,)))
        assert expected == server.value(
            "SELECT rolpassword FROM pg_authid WHERE rolname = 'fickle'"
        )


def test_renames_are_idempotent(server: Postgres) -> None:
    """A rename that is done is nothing to do; a role keeps what it owns."""
    first = desired(roles=("old_role",), databases=(("old_db", "old_role"),))
    apply(server, first)
    oids = server.query("SELECT oid FROM pg_roles WHERE rolname = 'old_role'")
    deltas = (("rename_role", "old_role", "new_role"), ("rename_db", "old_db", "new_db"))
    target = desired(roles=("new_role",), databases=(("new_db", "new_role"),), deltas=deltas)
    with server.connect(dbname="old_db"):  # a session in the way
        apply(server, target)
    apply(server, target)
    assert "new_role" == databases(server)["new_db"]
    assert "old_db" not in databases(server)
    assert oids == server.query("SELECT oid FROM pg_roles WHERE rolname = 'new_role'")


def test_drop_of_what_is_not_there(server: Postgres) -> None:
    """A database or role that is gone already is no failure."""
    apply(server, desired(deltas=(("delete_db", "never_db"), ("delete_role", "never_role"))))


def test_subscriptions_are_dropped_once_a_timeline(server: Postgres) -> None:
    """Where a branch asks for it, subscriptions go at the first run of its timeline only."""
    apply(server, desired(roles=("so",), databases=(("once", "so"),)))

    def subscribe() -> None:
        with server.connect(dbname="once") as session:
            session.execute(
                "CREATE SUBSCRIPTION o CONNECTION 'host=127.0.0.1 port=1 dbname=x' PUBLICATION p"
                " WITH (connect = false)"
            )

    subscribe()
    target = desired(
        databases=(("once", "so"),), drop_subscriptions_before_start=True, timeline_id="ab" * 16
    )
    count = "SELECT count(*) FROM pg_subscription WHERE subname = 'o'"
    apply(server, target)
    assert 0 == server.value(count)
    subscribe()
    apply(server, target)
    assert 1 == server.value(count)
    apply(server, desired(deltas=(("delete_db", "once"),)))


def test_failure_does_not_stop_its_phase(server: Postgres) -> None:
    """One impossible database is an error in the end; the others of its phase are made."""
    target = desired(
        roles=("phase_owner",),
        databases=(("phase_a", "nobody_at_all"), ("phase_b", "phase_owner")),
    )
    with pytest.raises(CatalogError, match=r'could not create database "phase_a": .*nobody_at_all'):
        apply(server, target)
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
        apply(server, desired(roles=(bad,)))
    apply(server, desired(roles=({"name": "leaky", "encrypted_password": SCRAM},)))
    text = f"{caught.value}{caplog.text}{server.log_text(position)}"
    assert (False, True) == (SECRET in text, "leaky" in text)


@pytest.mark.parametrize("concurrency", [0, 2])
def test_concurrency_is_bounded(server: Postgres, concurrency: int) -> None:
    """No more databases are worked on at once than asked for; 0 means one."""
    owner, begun = f"many_{concurrency}", max(concurrency, 1)
    many = tuple((f"many_{concurrency}_{number}", owner) for number in range(3))
    apply(server, desired(roles=(owner,), databases=many))
    busy = (
        "SELECT datname FROM pg_stat_activity WHERE datname LIKE 'many_%'"
        " AND application_name = 'compute_ctl:apply_config'"
    )
    with ThreadPoolExecutor(1) as pool:
        with ExitStack() as locks:
            for name, _ in many:
                session = locks.enter_context(server.connect(dbname=name, autocommit=False))
                session.execute("LOCK TABLE pg_default_acl IN ACCESS EXCLUSIVE MODE")
            work = pool.submit(apply, server, desired(databases=many), concurrency=concurrency)
            waiting = f"{busy} AND wait_event_type = 'Lock' ORDER BY 1"
            expected = [(name,) for name, _ in many[:begun]]
            wait_until("work to wait", lambda: server.query(waiting) == expected)
            assert expected == server.query(f"{busy} ORDER BY 1")
        assert work.result(20) > 0
