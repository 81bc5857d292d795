"""What one look over SQL tells, and that it always ends."""

import asyncio
import socket
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from compute_ctl.decisions.sql_report import FileSetting, PendingRestart, SqlReport
from compute_ctl.errors import ProbeError
from compute_ctl.sql.probe import PgSqlProbe
from devstack.postgres import Postgres
from devstack.wait import wait_until
from tests.support.fixtures import PostgresFactory


async def look(server: Postgres) -> SqlReport:
    """Look once."""
    return await PgSqlProbe(server.dsn()).look(deadline_s=5)


def row(report: SqlReport, name: str) -> FileSetting:
    """The last line that sets *name*."""
    return [setting for setting in report.settings if setting.name == name][-1]


async def test_healthy_server(make_postgres: PostgresFactory) -> None:
    """All lines are applied, nothing waits; the load time is that of the last reload."""
    server = make_postgres({"work_mem": "5MB"})
    first = await look(server)
    assert row(first, "work_mem") == FileSetting(
        file=str(server.data / "test.conf"),
        line=row(first, "work_mem").line,
        name="work_mem",
        value="5MB",
        applied=True,
        error=None,
    )
    assert ((), None, False) == (first.pending_restart, first.marker, first.library_loaded)
    assert abs(first.conf_load_time - datetime.now(UTC)) < timedelta(seconds=30)
    position = server.log_position()
    server.reload()
    server.wait_log("received SIGHUP", start=position)
    second = await look(server)
    assert second.conf_load_time > first.conf_load_time


async def test_bad_value_has_its_reason(make_postgres: PostgresFactory) -> None:
    """A value that the server refuses is an error of its line, and a notice says why."""
    server = make_postgres()
    server.configure({"log_statement": "nope"})
    report = await look(server)
    assert (
        False,
        "setting could not be applied",
    ) == (row(report, "log_statement").applied, row(report, "log_statement").error)
    reasons = [notice for notice in report.notices if "log_statement" in notice]
    assert [
        'invalid value for parameter "log_statement": "nope" '
        "HINT: Available values: none, ddl, mod, all."
    ] == reasons


async def test_restart_is_seen_before_any_reload(make_postgres: PostgresFactory) -> None:
    """A changed restart-only setting waits, with old value, new value and place."""
    server = make_postgres({"max_connections": 40})
    server.configure({"max_connections": 45})
    report = await look(server)
    assert report.pending_restart == (
        PendingRestart(
            name="max_connections",
            old="40",
            new="45",
            file=str(server.data / "test.conf"),
            line=row(report, "max_connections").line,
        ),
    )


async def test_removed_line_waits_for_a_restart(make_postgres: PostgresFactory) -> None:
    """A restart-only setting whose line is gone goes back to its default at the next start."""
    server = make_postgres({"max_prepared_transactions": 7})
    server.configure({"max_prepared_transactions": None})
    report = await look(server)
    assert report.pending_restart == (
        PendingRestart(name="max_prepared_transactions", old="7", new="0", file=None, line=None),
    )
    assert [None] == [setting.name for setting in report.settings if setting.error]


async def test_marker_without_library_is_a_placeholder(make_postgres: PostgresFactory) -> None:
    """Where nothing defines the marker, its value is shown but proves nothing."""
    server = make_postgres({"neon_refresh.config_generation": "7.x.y"})
    report = await look(server)
    assert ("7.x.y", False) == (report.marker, report.library_loaded)


async def test_marker_of_the_library(make_postgres: PostgresFactory) -> None:
    """Where the library defines the marker, what the server runs with is proof."""
    marker = f"7.{'a' * 32}.{'b' * 64}"
    server = make_postgres(
        {
            "shared_preload_libraries": "neon_refresh",
            "neon_refresh.config_generation": marker,
        }
    )
    report = await look(server)
    assert (report.marker, report.library_loaded) == (marker, True)


async def test_settings_of_the_role_do_not_disturb(make_postgres: PostgresFactory) -> None:
    """Whatever has been set for role and database, the questions are answered."""
    server = make_postgres()
    with server.connect() as session:
        session.execute("CREATE SCHEMA evil")
        session.execute("CREATE VIEW evil.pg_file_settings AS SELECT 1 AS seqno")
        for setting in (
            "search_path = evil",
            "default_transaction_read_only = on",
            "statement_timeout = 1",
            "client_min_messages = error",
        ):
            session.execute(f"ALTER ROLE postgres SET {setting}".encode())
            session.execute(f"ALTER DATABASE postgres SET {setting}".encode())
    server.configure({"log_statement": "nope"})
    report = await look(server)
    assert row(report, "log_statement").applied is False
    assert report.notices


@pytest.fixture
def silent() -> Iterator[str]:
    """The conninfo of a server that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"host=127.0.0.1 port={listener.getsockname()[1]} user=u dbname=d"


async def test_silence_ends_at_the_deadline(silent: str) -> None:
    """A server that says nothing costs the deadline, no more, and the next look is allowed."""
    probe = PgSqlProbe(silent)
    for _ in range(2):
        begin = time.monotonic()
        with pytest.raises(ProbeError, match="did not answer"):
            await probe.look(deadline_s=0.2)
        assert 0.15 < time.monotonic() - begin < 15
        await asyncio.to_thread(wait_until, "the thread to end", lambda: not probe._worker.busy)


async def test_server_by_name(make_postgres: PostgresFactory) -> None:
    """A name is looked up before libpq would; one that nobody knows is told."""
    server = make_postgres({"listen_addresses": "127.0.0.1"})
    by_name = f"host=localhost port={server.port} user=postgres dbname=postgres"
    assert (await PgSqlProbe(by_name).look(deadline_s=5)).settings
    nobody = PgSqlProbe("host=no-such-host.invalid user=postgres")
    with pytest.raises(ProbeError, match=r'the address of host "no-such-host\.invalid"'):
        await nobody.look(deadline_s=5)


async def test_only_one_look_at_a_time(silent: str) -> None:
    """While a look is stuck, another one fails at once instead of adding a thread."""
    probe = PgSqlProbe(silent)
    stuck = asyncio.create_task(probe.look(deadline_s=0.5))
    await asyncio.to_thread(wait_until, "the first look", lambda: probe._worker.busy)
    with pytest.raises(ProbeError, match="earlier look"):
        await probe.look(deadline_s=5)
    with pytest.raises(ProbeError, match="did not answer"):
        await stuck


async def test_refused_connection_says_why(unused_tcp_port: int) -> None:
    """Nobody listening is told in libpq's words."""
    probe = PgSqlProbe(f"host=127.0.0.1 port={unused_tcp_port} user=u")
    with pytest.raises(ProbeError, match=r"could not connect to postgres: .*refused"):
        await probe.look(deadline_s=5)


async def test_server_that_hangs_up(make_postgres: PostgresFactory) -> None:
    """A server that is full refuses, and the reason comes through."""
    server = make_postgres(
        {"max_connections": 5, "superuser_reserved_connections": 0, "max_wal_senders": 0}
    )
    busy = [server.connect() for _ in range(5)]
    with pytest.raises(ProbeError, match="too many clients already"):
        await look(server)
    for connection in busy:
        connection.close()


@pytest.mark.parametrize("connstr", ["postgresql://u:hidden@[bad", "password=hidden nonsense"])
async def test_bad_connection_string_keeps_its_password(connstr: str) -> None:
    """An unusable connection string is refused without being shown."""
    with pytest.raises(ProbeError, match="connection string is not valid") as caught:
        await PgSqlProbe(connstr).look(deadline_s=5)
    assert "hidden" not in str(caught.value)
