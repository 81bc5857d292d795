"""Every kind of trouble, in every phase, as the client, the views and the daemon see it.

A row of a table is a situation at the pageserver that lasts: the request must be suspected with
the right class, SQLSTATE and text, the daemon must be asked once, and when the situation ends the
query ends with its answer (or has ended at once in an error, where the answer was nonsense), and
one connection is left.
"""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from devstack.client import Farewell
from devstack.launch import start_pageserver
from devstack.postgres import Postgres
from devstack.wait import wait_until
from tests.pg.conftest import BASE, TENANT, TIMELINE
from tests.pg.outages import KINDS, LONG, PATIENCE, Setup, outage
from tests.pg.queries import Blocked
from tests.pg.situations import HANDSHAKE, RESPONSE, TENANTS, Situation
from tests.support.daemon_stub import REFRESH, DaemonStub


@pytest.fixture(scope="module")
def shared_rig(neon_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Setup]:
    """One server and pageserver for all rows."""
    with (
        DaemonStub() as daemon,
        start_pageserver(
            pgdata=neon_template,
            tenant=TENANT,
            timeline=TIMELINE,
            log_dir=tmp_path_factory.mktemp("failures"),
        ) as pageserver,
        Postgres(neon_template, name="failures") as server,
    ):
        server.configure(
            {
                **BASE,
                "neon.pageserver_connstring": pageserver.url,
                "neon_refresh.endpoint": daemon.endpoint,
                **dict.fromkeys(PATIENCE, LONG),
                "neon_refresh.query_cancel_after": "60s",
                "neon_refresh.request_timeout": "60s",
            }
        )
        yield Setup(server=server.start(), pageserver=pageserver, daemon=daemon)


@pytest.fixture
def setup(shared_rig: Setup) -> Setup:
    """Return the setup, healthy."""
    shared_rig.heal()
    return shared_rig


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("situation", HANDSHAKE + RESPONSE, ids=str)
def test_trouble_in_every_phase(setup: Setup, situation: Situation, kind: str) -> None:
    """Dead, silent, wrong and nonsense, before the request and in place of its answer."""
    setup.pageserver.admin.set_fault(situation.kind, phase=situation.phase, **situation.more)
    outage(setup, kind, situation.seen, end=setup.pageserver.admin.clear_faults)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("state", TENANTS)
def test_a_tenant_that_is_elsewhere(setup: Setup, state: str, kind: str) -> None:
    """What a real pageserver says in each state of a tenant that moves."""
    setup.pageserver.admin.set_tenant(state)
    seen = TENANTS[state][0 if kind == "getpage" else 1]
    outage(setup, kind, seen, end=lambda: setup.pageserver.admin.set_tenant("active"))


@pytest.mark.parametrize("text", ["Read error", "Bad request: tried to read a page at 0/1"])
def test_an_error_of_its_own_right_goes_to_the_client(setup: Setup, text: str) -> None:
    """A page that cannot be read is an error of class 58: no suspicion, the connection stays."""
    mark = setup.mark()
    with setup.server.connect() as connection:
        connection.execute(setup.sql("getpage").encode())
        before = setup.pageserver.admin.stats()["connections"]["total"]
        setup.pageserver.admin.set_fault("error", text=text, count=1)
        with pytest.raises(psycopg.errors.IoError) as caught:
            connection.execute(setup.sql("getpage").encode())
        connection.execute(setup.sql("getpage").encode())
    assert f"page server returned error: {text}" == caught.value.diag.message_detail
    assert [] == setup.events_after(mark)
    assert ["manual"] == setup.requests_so_far()
    assert setup.pageserver.admin.stats()["connections"]["total"] == before


def test_a_slow_answer_is_no_trouble(setup: Setup) -> None:
    """An answer within response_suspect_after is waited for and nothing more."""
    mark = setup.mark()
    setup.pageserver.admin.set_fault("slow", delay_ms=100)
    assert setup.server.value(setup.sql("getpage")) is True
    assert [] == setup.events_after(mark)
    assert ["manual"] == setup.requests_so_far()


@pytest.mark.parametrize("how", ["fin", "rst", "timed_out", "shutdown"])
def test_an_idle_connection_that_ends_is_no_trouble(setup: Setup, how: Farewell) -> None:
    """A peer that closes an idle connection, and takes the next one, raises no alarm."""
    mark = setup.mark()
    with setup.server.connect() as connection:
        connection.execute(setup.sql("getpage").encode())
        assert setup.pageserver.admin.disconnect(how, idle_only=True) >= 1
        wait_until("the end", lambda: setup.open_connections() == 0)
        assert (True,) == connection.execute(setup.sql("getpage").encode()).fetchone()
    assert [] == setup.events_after(mark)
    assert ["manual"] == setup.requests_so_far()


@pytest.mark.parametrize("how", ["fin", "rst", "timed_out", "shutdown"])
def test_an_idle_connection_that_cannot_be_made_again_is_trouble(
    setup: Setup, how: Farewell
) -> None:
    """A request that finds its connection gone, and no server behind it, asks the daemon."""
    mark = setup.mark()
    with setup.server.connect() as connection:
        connection.execute(setup.sql("getpage").encode())
        setup.pageserver.admin.set_fault("refuse")
        setup.pageserver.admin.disconnect(how, idle_only=True)
        wait_until("the end", lambda: setup.open_connections() == 0)
        with Blocked(setup.server, setup.sql("getpage"), connection=connection) as query:
            body = setup.daemon.wait_for(REFRESH)[0].body
            assert ("dead", 0) == (body["class"], body["shard"])
            setup.pageserver.admin.clear_faults()
            assert [(True,)] == query.join()
    assert ("dead", "connect") == setup.events_after(mark)[0][:2]


def test_a_stream_in_use_that_is_cut_off_in_mid_request_is_trouble(setup: Setup) -> None:
    """The daemon is asked, before a reconnect has failed as well."""
    mark = setup.mark()
    with setup.server.connect() as connection:
        connection.execute(setup.sql("getpage").encode())
        setup.pageserver.admin.set_fault("reset", phase="response")
        with Blocked(setup.server, setup.sql("getpage"), connection=connection) as query:
            body = setup.daemon.wait_for(REFRESH)[0].body
            setup.pageserver.admin.clear_faults()
            assert [(True,)] == query.join()
    assert ("dead", 0) == (body["class"], body["shard"])
    assert ("dead", "response") == setup.events_after(mark)[0][:2]


def test_a_stream_that_rested_may_be_cut_off_in_mid_request(setup: Setup) -> None:
    """One that nobody has used for a second may have met its end as idle: it is made anew first."""
    mark = setup.mark()
    with setup.server.connect() as connection:
        connection.execute(setup.sql("getpage").encode())
        since = "SELECT last_useful < clock_timestamp() - '1.1 s'::interval "
        wait_until("a rest", lambda: setup.server.value(since + "FROM neon_refresh.shards"))
        setup.pageserver.admin.set_fault("reset", phase="response", count=1)
        assert (True,) == connection.execute(setup.sql("getpage").encode()).fetchone()
    assert [] == setup.events_after(mark)
    assert ["manual"] == setup.requests_so_far()


@pytest.mark.parametrize("kind", ["shutdown", "timed_out"])
def test_one_orderly_end_in_mid_request_is_no_trouble(setup: Setup, kind: str) -> None:
    """A pageserver that restarts while a request is out is given one free reconnect."""
    mark = setup.mark()
    with setup.server.connect() as connection:
        connection.execute(setup.sql("getpage").encode())
        setup.pageserver.admin.set_fault(kind, count=1)
        assert (True,) == connection.execute(setup.sql("getpage").encode()).fetchone()
    assert [] == setup.events_after(mark)
    assert ["manual"] == setup.requests_so_far()


@pytest.mark.parametrize("no", ["refuse_query", "reconnect", "not_found"])
def test_a_server_that_logs_us_in_and_says_no_is_asked_with_pauses(setup: Setup, no: str) -> None:
    """A login that succeeds does not make the next attempt come at once."""
    setup.pageserver.admin.set_fault(no)
    before = setup.pageserver.admin.stats()["connections"]["total"]
    with Blocked(setup.server, setup.sql("getpage")) as query:
        wait_until(
            "8 attempts",
            lambda: setup.pageserver.admin.stats()["connections"]["total"] >= before + 8,
        )
        attempts = "SELECT consecutive_failures FROM neon_refresh.shards"
        first = setup.server.value(attempts)
        query.cancel()
        with pytest.raises(psycopg.errors.QueryCanceled):
            query.join()
        # 2 + 4 + ... + 1024 ms at the most until the pauses reach their ceiling of 1 s
        assert first < 40
