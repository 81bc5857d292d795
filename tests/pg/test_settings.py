"""Settings, privileges and the SQL objects."""

import subprocess

import psycopg
import pytest
from psycopg import errors

from devstack.installation import binary, major, run_as
from devstack.postgres import Postgres
from devstack.wait import wait_until
from tests.pg.conftest import MakeNeon

ONE = "host=127.0.0.1 port=1"

OURS = {
    "neon_refresh.auth_token_file": ("", "sighup"),
    "neon_refresh.config_generation": ("", "sighup"),
    "neon_refresh.connect_timeout": ("5s", "sighup"),
    "neon_refresh.enabled": ("on", "sighup"),
    "neon_refresh.endpoint": ("", "sighup"),
    "neon_refresh.failure_threshold": ("1", "sighup"),
    "neon_refresh.query_cancel_after": ("1min", "sighup"),
    "neon_refresh.request_timeout": ("3s", "sighup"),
    "neon_refresh.response_suspect_after": ("10s", "sighup"),
    "neon_refresh.retry_max": ("5s", "sighup"),
    "neon_refresh.retry_min": ("50ms", "sighup"),
    "neon_refresh.safekeeper_suspect_after": ("30s", "sighup"),
    "neon_refresh.sources": ("pageserver,safekeeper,primary", "sighup"),
    "neon.branch_id": ("", "postmaster"),
    "neon.compute_mode": ("primary", "postmaster"),
    "neon.endpoint_id": ("", "postmaster"),
    "neon.extension_server_port": ("0", "sighup"),
    "neon.max_reconnect_attempts": ("60", "user"),
    "neon.pageserver_connstring": ("", "sighup"),
    "neon.pageserver_response_disconnect_timeout": ("150s", "superuser"),
    "neon.pageserver_response_log_timeout": ("10s", "superuser"),
    "neon.project_id": ("", "postmaster"),
    "neon.protocol_version": ("3", "superuser-backend"),
    "neon.safekeepers": ("", "sighup"),
    "neon.stripe_size": ("16MB", "sighup"),
    "neon.tenant_id": ("", "postmaster"),
    "neon.timeline_id": ("", "postmaster"),
}


def test_defaults_and_contexts(postgresql: psycopg.Connection[tuple[str, ...]]) -> None:
    """Every setting has its documented default, and may be changed where documented."""
    rows = postgresql.execute(
        r"SELECT name, current_setting(name), context FROM pg_settings WHERE name LIKE 'neon%'"
    ).fetchall()

    assert OURS == {name: (value, context) for name, value, context in rows}


REFUSED = {
    "host that is not loopback": ("neon_refresh.endpoint", "http://192.0.2.1:80"),
    "name that is not localhost": ("neon_refresh.endpoint", "http://example.com:80"),
    "https": ("neon_refresh.endpoint", "https://127.0.0.1:80"),
    "relative socket": ("neon_refresh.endpoint", "unix:ctl.sock"),
    "unknown source": ("neon_refresh.sources", "pageserver,moon"),
    "threshold of none": ("neon_refresh.failure_threshold", "0"),
    "conninfo without host": ("neon.pageserver_connstring", "port=1"),
    "second conninfo without host": ("neon.pageserver_connstring", "host=a,port=1"),
    "empty entry": ("neon.pageserver_connstring", "host=a,,host=b"),
    "no conninfo": ("neon.pageserver_connstring", "nonsense"),
    "too long an entry": ("neon.pageserver_connstring", "host=" + "a" * 300),
    "too many shards": ("neon.pageserver_connstring", ",".join(["host=a"] * 129)),
    "stripe of nothing": ("neon.stripe_size", "0"),
    "tenant that is no id": ("neon.tenant_id", "12"),
    "protocol of tomorrow": ("neon.protocol_version", "4"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_values_are_refused(shared_postgres: Postgres, case: str) -> None:
    """ALTER SYSTEM of a value that cannot work is an error of class 22 and changes nothing."""
    name, value = REFUSED[case]

    with pytest.raises(errors.InvalidParameterValue):
        shared_postgres.query(f"ALTER SYSTEM SET {name} = '{value}'")


@pytest.mark.parametrize(
    "value",
    [
        "",
        "http://127.0.0.1:3081",
        "http://localhost:3081",
        "http://[::1]:3081",
        "unix:/run/compute_ctl/ctl.sock",
    ],
)
def test_local_endpoints_are_accepted(shared_postgres: Postgres, value: str) -> None:
    """Loopback and absolute socket paths are the endpoints there are."""
    shared_postgres.query(f"ALTER SYSTEM SET neon_refresh.endpoint = '{value}'")
    shared_postgres.query("ALTER SYSTEM RESET neon_refresh.endpoint")


def test_the_marker_is_not_for_alter_system(shared_postgres: Postgres) -> None:
    """The marker belongs to the daemon's file."""
    with pytest.raises(errors.CantChangeRuntimeParam):
        shared_postgres.query("ALTER SYSTEM SET neon_refresh.config_generation = '1.a.b'")


def test_a_marker_is_one_word(make_neon: MakeNeon) -> None:
    """A marker with a blank is refused at the reload, and the old one stays."""
    server = make_neon({"neon_refresh.config_generation": "1.a.b"})
    server.configure({"neon_refresh.config_generation": "2 a"})
    server.reload()
    server.wait_log('invalid value for parameter "neon_refresh.config_generation"')

    assert "1.a.b" == server.value("SHOW neon_refresh.config_generation")


def test_unknown_names_with_our_prefix_are_refused(shared_postgres: Postgres) -> None:
    """A typing error in a setting's name does not pass for a placeholder; neon.* may be new."""
    with shared_postgres.connect() as connection:
        connection.execute("SET neon.something_new = 'x'")
        if major() < 15:
            pytest.skip("before PostgreSQL 15 no prefix can be reserved")
        with pytest.raises(errors.InvalidName):
            connection.execute("SET neon_refresh.enabld = on")


def test_what_an_ordinary_user_may_do(make_neon: MakeNeon) -> None:
    """PUBLIC gets nothing; pg_monitor reads the views; only a superuser reads pages."""
    server = make_neon({"neon.pageserver_connstring": "host=127.0.0.1 port=1 password=secret"})
    server.query("CREATE ROLE nobody LOGIN")
    server.query("CREATE ROLE watcher LOGIN IN ROLE pg_monitor")
    views = ["SELECT * FROM neon_refresh." + view for view in ("stat", "shards", "events")]
    functions = [
        "SELECT neon_refresh.request('x')",
        "SELECT neon_refresh.read_page('pg_class', 0)",
        "SELECT neon_refresh.read_page_at(1, 1, 1, 'main', 0, '0/1')",
        "SELECT neon_refresh.rel_nblocks('pg_class')",
        "SELECT neon_refresh.rel_exists('pg_class')",
        "SELECT neon_refresh.db_size(1)",
    ]

    for user, forbidden, allowed in (
        ("nobody", views + functions, []),
        ("watcher", functions, views),
    ):
        with server.connect(user=user) as connection:
            for sql in allowed:
                connection.execute(sql.encode())
            for sql in forbidden:
                with pytest.raises(errors.InsufficientPrivilege):
                    connection.execute(sql.encode())
    with server.connect(user="nobody") as connection:
        for name in ("neon.pageserver_connstring", "neon_refresh.endpoint"):
            with pytest.raises(errors.InsufficientPrivilege):
                connection.execute(f"SHOW {name}".encode())


def test_raw_pages_are_the_superusers_even_if_granted(make_neon: MakeNeon) -> None:
    """As with pageinspect a grant does not open raw pages; sizes may be granted."""
    server = make_neon({"neon_refresh.query_cancel_after": "1ms"}, pageservers=ONE)
    server.query("CREATE ROLE nobody LOGIN")
    server.query("GRANT USAGE ON SCHEMA neon_refresh TO nobody")
    server.query("GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA neon_refresh TO nobody")
    with server.connect(user="nobody") as connection:
        for call in ("read_page('pg_class', 0)", "read_page_at(1, 1, 1, 'main', 0, '0/1')"):
            with pytest.raises(errors.InsufficientPrivilege, match="must be superuser"):
                connection.execute(f"SELECT neon_refresh.{call}".encode())
        with pytest.raises(errors.ConnectionFailure):
            connection.execute("SELECT neon_refresh.rel_nblocks('pg_class')")


def test_passwords_are_shown_to_nobody(make_neon: MakeNeon) -> None:
    """A password in the list earns one warning and is hidden in the views."""
    server = make_neon({"neon.pageserver_connstring": "host=127.0.0.1 port=1 password=secret"})

    endpoint = server.value("SELECT endpoint FROM neon_refresh.shards")
    assert "host=127.0.0.1 port=1 password=***" == endpoint
    warning = 'WARNING:  "neon.pageserver_connstring" contains a password'
    assert 1 == server.log_contains(warning)
    start = server.log_position()
    server.reload()
    server.wait_log("received SIGHUP", start=start)
    assert 1 == server.log_contains(warning)


def test_loading_without_preload_says_what_to_do(make_neon: MakeNeon) -> None:
    """LOAD in a session is a plain error with a hint, and defines nothing."""
    server = make_neon({"shared_preload_libraries": ""})
    with server.connect() as connection:
        with pytest.raises(errors.ObjectNotInPrerequisiteState) as caught:
            connection.execute("LOAD 'neon_refresh'")
        assert caught.value.diag.message_hint is not None
        assert "shared_preload_libraries" in caught.value.diag.message_hint
        with pytest.raises(errors.ObjectNotInPrerequisiteState):
            connection.execute("SELECT * FROM neon_refresh.stat")


def test_the_extension_can_be_dropped_and_made_again(
    postgresql: psycopg.Connection[object],
) -> None:
    """CREATE, DROP and CREATE EXTENSION leave no object behind."""
    postgresql.autocommit = True
    for _ in range(2):
        postgresql.execute("CREATE EXTENSION neon_refresh")
        postgresql.execute("DROP EXTENSION neon_refresh")
    left = postgresql.execute("SELECT count(*) FROM pg_namespace WHERE nspname = 'neon_refresh'")
    row = left.fetchone()
    assert (0,) == row


def test_the_worker_is_told_by_the_reload(make_neon: MakeNeon) -> None:
    """`enabled` and the other limits reach shared memory, where running statements see them."""
    server = make_neon()
    enabled = "SELECT enabled FROM neon_refresh.stat"
    assert server.value(enabled) is True
    server.configure({"neon_refresh.enabled": False})
    server.reload()
    wait_until("enabled = off", lambda: server.value(enabled) is False)


def test_binary_upgrade_starts_without_the_worker(make_neon: MakeNeon) -> None:
    """In binary upgrade mode the library defines its settings and does nothing else."""
    if major() < 14:
        pytest.skip("before PostgreSQL 14 a single-user server loads no libraries")
    server = make_neon(start=False)
    done = subprocess.run(
        [binary("postgres"), "--single", "-b", "-D", str(server.data), "postgres"],
        input="SELECT current_setting('neon_refresh.enabled')\n",
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        cwd="/",
        **run_as(),
    )

    assert 0 == done.returncode, done.stderr
    assert 'current_setting = "on"' in done.stdout
