"""What a user learns to whom somebody has granted the functions."""

import psycopg
import pytest
from psycopg import errors

from devstack.installation import major
from devstack.postgres import Postgres
from devstack.wait import wait_until
from tests.pg.conftest import MakeNeon
from tests.pg.queries import Blocked

LIBPQ_NAMES_ADDRESSES = major() >= 14
"""In the first line of why it could not connect; where the server brings its own libpq."""

SETTINGS = {"neon_refresh.query_cancel_after": "300ms"}
DEAD = "host=127.0.0.1 port=1"
NBLOCKS = "SELECT neon_refresh.rel_nblocks('t')"


@pytest.fixture
def server(make_neon: MakeNeon) -> Postgres:
    """Return a server with a dead pageserver and a user `reader` who may call the functions."""
    server = make_neon(SETTINGS, pageservers=DEAD)
    for sql in (
        "CREATE ROLE reader LOGIN",
        "GRANT USAGE ON SCHEMA neon_refresh TO reader",
        "GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA neon_refresh TO reader",
    ):
        server.query(sql)
    return server


def error_of(connection: psycopg.Connection[tuple[object, ...]]) -> tuple[str, str]:
    """Return the detail of the error that a request ends in, and all notices before it."""
    notices: list[str] = []
    connection.add_notice_handler(
        lambda notice: notices.append(f"{notice.message_primary} {notice.message_detail}")
    )
    connection.execute("SET client_min_messages = debug1")
    with pytest.raises(errors.ConnectionFailure) as caught:
        connection.execute(NBLOCKS.encode())
    return caught.value.diag.message_detail or "", "\n".join(notices)


def test_the_address_of_a_pageserver_is_not_for_everybody(server: Postgres) -> None:
    """The client is told what failed and how often; where, only if it may read all settings."""
    with server.connect(user="reader") as connection:
        detail, notices = error_of(connection)
    assert detail.startswith("Failures of this request: ")
    assert "127.0.0.1" not in detail + notices
    if not LIBPQ_NAMES_ADDRESSES:
        return
    server.wait_log("last in phase connect: .*127.0.0.1.*port 1.*")

    server.query("GRANT pg_read_all_settings TO reader")
    with server.connect(user="reader") as connection:
        detail, _ = error_of(connection)
    assert "127.0.0.1" in detail


def test_a_request_that_only_waited_tells_how_others_failed(server: Postgres) -> None:
    """While a shard fails, one process at a time may connect; the backoff grows past the limit."""
    server.configure({"neon_refresh.query_cancel_after": "20ms"})
    server.reload()
    others = "Failures of this request: 0, it waited while others failed, the last in phase connect"

    def without_turn() -> str:
        with server.connect(user="reader") as connection:
            detail, _ = error_of(connection)
        return detail if detail.startswith(others) else ""

    assert "127.0.0.1" not in wait_until("a request that had no turn", without_turn)
    server.query("GRANT pg_read_all_settings TO reader")
    told = wait_until("a request that had no turn", without_turn)
    assert LIBPQ_NAMES_ADDRESSES == ("127.0.0.1" in told)


@pytest.mark.parametrize(
    "call", ["rel_nblocks('t')", "rel_exists('t')", "length(neon_refresh.read_page('t', 0))"]
)
def test_the_relation_stays_locked_until_the_answer(server: Postgres, call: str) -> None:
    """Nobody drops or rewrites what is being read."""
    server.configure({"neon_refresh.query_cancel_after": "60s"})
    server.reload()
    sql = f"SELECT neon_refresh.{call}" if call.startswith("rel") else f"SELECT {call}"
    locks = "SELECT mode FROM pg_locks WHERE pid = %s AND relation = 't'::regclass"
    with Blocked(server, sql) as query:
        query.wait_blocked()
        assert [("AccessShareLock",)] == server.query(locks, query.pid)
        query.cancel()
        with pytest.raises(errors.QueryCanceled):
            query.join()
