"""What a pageserver may say, and what must not come of it."""

import os
import struct
import subprocess

import pytest
from psycopg import errors

from devstack.installation import binary, give_away, major, run_as
from devstack.postgres import Postgres
from devstack.process import memory_mb
from devstack.wait import wait_until
from tests.pg.conftest import MakeNeon, MakePageserver
from tests.pg.queries import Blocked, end_at_limit
from tests.pg.rawserver import RawServer, message, notice, page_error
from tests.support.daemon_stub import DaemonStub

V2 = {"neon.protocol_version": 2}
READ = "SELECT neon_refresh.read_page('t', 0)"


def fail_at_limit(server: Postgres) -> None:
    """Read a page until what the pageserver says was noted, and then to the end in an error."""
    with Blocked(server, READ) as query:
        events = "SELECT events_total FROM neon_refresh.stat"
        wait_until("an event", lambda: server.value(events))
        end_at_limit(server)
        with pytest.raises(errors.ConnectionFailure):
            query.join()


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (b"Bad request: " + "é".encode() * 120, "Bad request: " + "é" * 93),
        (b"Bad request: \xff\xfe\x1b[2J\nx", "Bad request: ?? [2J x"),
    ],
    ids=["cut in a character", "no text at all"],
)
def test_a_page_error_is_valid_text(make_neon: MakeNeon, said: bytes, shown: str) -> None:
    """The text of a pageserver reaches the client cut, clean and in the server's encoding."""
    with RawServer(answer=page_error(said)) as pageserver:
        server = make_neon(V2, pageservers=pageserver.url)
        with pytest.raises(errors.IoError) as caught:
            server.value(READ)
    assert f"page server returned error: {shown}" == caught.value.diag.message_detail


@pytest.mark.parametrize("encoding", ["UTF8", "LATIN1"])
def test_a_view_never_shows_invalid_text(make_neon: MakeNeon, encoding: str) -> None:
    """What a pageserver said can be stored in a table and read again, in any database."""
    said = b"Not found: Tenant \xff " + "é".encode() * 120
    with RawServer(answer=page_error(said)) as pageserver:
        server = make_neon({**V2, "neon_refresh.query_cancel_after": 0}, pageservers=pageserver.url)
        fail_at_limit(server)
    server.query(f"CREATE DATABASE d ENCODING '{encoding}' LOCALE 'C' TEMPLATE template0")
    with server.connect(dbname="d") as connection:
        connection.execute("CREATE EXTENSION neon_refresh")
        for view, column in (("events", "text"), ("shards", "last_error")):
            sql = f"SELECT DISTINCT convert_from(convert_to({column}, 'UTF8'), 'UTF8')"
            rows = connection.execute(f"{sql} FROM neon_refresh.{view}".encode()).fetchall()
            assert 1 == len(rows)
            assert rows[0][0].startswith("Not found: Tenant ? ")


def test_notices_do_not_reach_the_log(make_neon: MakeNeon) -> None:
    """A pageserver cannot write lines of its own choice into the server's log."""
    forged = b"2026-01-01 00:00:00 UTC [1] PANIC:  forged"
    answer = notice(forged) + page_error(b"no")
    with RawServer(greeting=notice(forged), answer=answer) as pageserver:
        server = make_neon(V2, pageservers=pageserver.url)
        with pytest.raises(errors.IoError):
            server.value(READ)
        assert 1 == server.log_contains("page server returned error: no")
        assert 0 == server.log_contains("forged")


def test_a_sqlstate_that_is_none_is_not_shown(make_neon: MakeNeon) -> None:
    """Five bytes that are no SQLSTATE do not reach the views."""
    refusal = message(b"E", b"SERROR\0C\xff\xfe\x01zz\0Mno\0\0") + message(b"Z", b"I")
    settings = {**V2, "neon_refresh.query_cancel_after": 0}
    with RawServer(answer=refusal) as pageserver:
        server = make_neon(settings, pageservers=pageserver.url)
        fail_at_limit(server)
    assert [(None, "no")] == server.query("SELECT DISTINCT sqlstate, text FROM neon_refresh.events")


def test_a_single_user_server_reads_pages(
    make_neon: MakeNeon, make_pageserver: MakePageserver
) -> None:
    """Without a postmaster the client works, and no worker is missed."""
    if major() < 14:
        pytest.skip("before PostgreSQL 14 a single-user server loads no libraries")
    server = make_neon(pageservers=make_pageserver().url, start=False)
    done = subprocess.run(
        [binary("postgres"), "--single", "-D", str(server.data), "postgres"],
        input="SELECT neon_refresh.read_page('t', 7) = get_raw_page('t', 7) AS same\n",
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        cwd="/",
        **run_as(),
    )
    assert 'same = "t"' in done.stdout, done.stderr
    assert "cannot heal itself" not in done.stderr


def test_a_token_file_that_never_ends_blocks_nobody(
    make_neon: MakeNeon, make_pageserver: MakePageserver
) -> None:
    """A named pipe in place of the token's file is as good as an empty file."""
    server = make_neon(pageservers=make_pageserver().url, start=False)
    pipe = server.folder / "token"
    os.mkfifo(pipe)
    give_away(pipe)
    server.configure({"neon_refresh.auth_token_file": str(pipe)})
    server.start()

    with Blocked(server, READ) as query:
        assert 8192 == len(query.join()[0][0])


def test_others_success_does_not_make_a_failure_spin(
    make_neon: MakeNeon, make_pageserver: MakePageserver, daemon: DaemonStub
) -> None:
    """A request that always fails keeps its pace while other requests to the shard succeed."""
    pageserver = make_pageserver()
    server = make_neon(
        {"neon_refresh.query_cancel_after": "2s"}, daemon=daemon, pageservers=pageserver.url
    )
    pageserver.admin.set_fault("close", phase="response", request="dbsize")
    with (
        server.connect() as healthy,
        Blocked(server, "SELECT neon_refresh.db_size(1)") as failing,
    ):
        while not failing.done:
            healthy.execute(READ)
        with pytest.raises(errors.ConnectionFailure):
            failing.join()
    assert server.value("SELECT events_total FROM neon_refresh.stat") < 60


def test_a_password_is_hidden_before_the_text_is_cut(make_neon: MakeNeon) -> None:
    """A URL whose end lies beyond the longest text shows no part of its password."""
    said = b"Bad request: postgres://u:" + b"s3" * 120 + b"@h/"
    with RawServer(answer=page_error(said)) as pageserver:
        server = make_neon(V2, pageservers=pageserver.url)
        with pytest.raises(errors.IoError) as caught:
            server.value(READ)
    expected = "page server returned error: Bad request: postgres://u:***@h/"
    assert caught.value.diag.message_detail == expected
    assert 0 == server.log_contains("s3s3")


@pytest.mark.parametrize("kind", [b"d", b"E", b"N"])
@pytest.mark.parametrize("phase", [b"Q", b"d"])
def test_an_endless_message_takes_no_memory(make_neon: MakeNeon, phase: bytes, kind: bytes) -> None:
    """A message of 1 GB, to the query or to a request, is refused after the first kilobytes."""
    header = kind + struct.pack("!I", 1 << 30)
    said = {"greeting" if phase == b"Q" else "answer": header}
    with RawServer(**said, endless=phase) as pageserver:
        server = make_neon(V2, pageservers=pageserver.url)
        with server.connect() as connection:
            connection.execute("SELECT * FROM neon_refresh.stat, pg_class")
            pid = connection.info.backend_pid
            before = memory_mb(pid, peak=True)
            with pytest.raises(errors.ProtocolViolation, match="a message is too long"):
                connection.execute(READ)
            assert memory_mb(pid, peak=True) - before < 10
    assert [("nonsense",)] == server.query("SELECT DISTINCT last_class FROM neon_refresh.shards")


def test_a_message_that_comes_in_drops_is_read(make_neon: MakeNeon) -> None:
    """Many reads of a valid answer are no reason to refuse it."""
    with RawServer(answer=page_error(b"Bad request: " + b"x" * 20_000)) as pageserver:
        server = make_neon(V2, pageservers=pageserver.url)
        with pytest.raises(errors.IoError):
            server.value(READ)
