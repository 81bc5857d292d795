"""Every kind of trouble, in every phase, as the client, the views and the daemon see it.

A row of a table is a situation at the pageserver that lasts: the request must be suspected with
the right class and reason, the daemon must be asked, and when the situation ends the query ends
with its answer (or has ended at once in an error, where the answer was nonsense).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from devstack.launch import Pageserver, start_pageserver
from devstack.postgres import Postgres
from devstack.wait import wait_until
from tests.pg.conftest import BASE, TENANT, TIMELINE
from tests.pg.queries import Blocked
from tests.pg.situations import HANDSHAKE, RESPONSE, TENANTS, Situation
from tests.support.daemon_stub import REFRESH, DaemonStub

KINDS = {
    "getpage": "SELECT neon_refresh.read_page('t', 7) = get_raw_page('t', 7)",
    "nblocks": "SELECT neon_refresh.rel_nblocks('t') = pg_relation_size('t') / 8192",
    "exists": "SELECT neon_refresh.rel_exists('t')",
    "dbsize": "SELECT neon_refresh.db_size(%d) > 0",
}
EVENTS = """
    SELECT class, phase, sqlstate, certainty, text FROM neon_refresh.events
    WHERE number > %s AND source = 'pageserver' ORDER BY number
"""


@dataclass(frozen=True, kw_only=True)
class Rig:
    """A server, its pageserver and the stand-in for the daemon."""

    server: Postgres
    pageserver: Pageserver
    daemon: DaemonStub

    def sql(self, kind: str) -> str:
        """Return the query of a request kind; its answer is true."""
        sql = KINDS[kind]
        if "%d" not in sql:
            return sql
        oid = "SELECT oid::int FROM pg_database WHERE datname = 'postgres'"
        return sql % (self.server.value(oid),)

    def mark(self) -> int:
        """Return the number of the last event."""
        total: int = self.server.value("SELECT events_total FROM neon_refresh.stat")
        return total

    def events_after(self, mark: int) -> list[tuple[Any, ...]]:
        """Return the pageserver's events after *mark*."""
        return self.server.query(EVENTS, mark)

    def requests_so_far(self) -> list[str]:
        """Return the sources of all requests, when the worker has seen everything."""
        self.server.value("SELECT neon_refresh.request('flush')")
        wait_until(
            "the worker's look",
            lambda: "flush" in [post.body["text"] for post in self.daemon.of(REFRESH)],
        )
        return [post.body["source"] for post in self.daemon.of(REFRESH)]

    def heal(self) -> None:
        """Bring everything back to health and forget the past."""
        self.pageserver.admin.clear_faults()
        self.pageserver.admin.set_tenant("active")
        self.server.value(self.sql("exists"))
        wait_until(
            "health",
            lambda: (
                self.server.query(
                    "SELECT s.state, x.suspected_since "
                    "FROM neon_refresh.shards s, neon_refresh.stat x"
                )
                == [("healthy", None)]
            ),
        )
        self.daemon.clear()


@pytest.fixture(scope="module")
def shared_rig(neon_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
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
                "neon_refresh.connect_timeout": "250ms",
                "neon_refresh.response_suspect_after": "250ms",
                "neon_refresh.query_cancel_after": "20s",
            }
        )
        yield Rig(server=server.start(), pageserver=pageserver, daemon=daemon)


@pytest.fixture
def rig(shared_rig: Rig) -> Rig:
    """Return the rig, healthy."""
    shared_rig.heal()
    return shared_rig


def check(rig: Rig, situation: Situation, kind: str) -> None:
    """Let *situation* last until the daemon was asked, then end it."""
    mark = rig.mark()
    rig.pageserver.admin.set_fault(situation.kind, phase=situation.phase, **situation.more)
    with Blocked(rig.server, rig.sql(kind)) as query:
        post = rig.daemon.wait_for(REFRESH)[0]
        if situation.error is not None:
            with pytest.raises(psycopg.Error) as caught:
                query.join()
            assert caught.value.sqlstate == situation.error
            rig.pageserver.admin.clear_faults()
            again = query.connection.execute(rig.sql(kind).encode()).fetchall()
            assert again == [(True,)]
        else:
            assert not query.done
            rig.pageserver.admin.clear_faults()
            assert query.join() == [(True,)]

    trouble, phase, sqlstate, certainty = situation.seen
    events = rig.events_after(mark)
    assert events[0][:1] + events[0][2:4] == (trouble, sqlstate, certainty), events
    assert events[0][1] in phase.split("|")
    assert events[0][4], "an event without a reason"
    expected = {"source": "pageserver", "shard": 0, "class": trouble, "sqlstate": sqlstate or ""}
    assert expected == {key: post.body[key] for key in expected}


@pytest.mark.parametrize("situation", HANDSHAKE, ids=str)
def test_trouble_before_the_request(rig: Rig, situation: Situation) -> None:
    """Dead, silent, wrong and nonsense in each phase of the handshake."""
    check(rig, situation, "getpage")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("situation", RESPONSE, ids=str)
def test_trouble_with_the_answer(rig: Rig, situation: Situation, kind: str) -> None:
    """Dead, silent, wrong and nonsense in place of the answer, for each kind of request."""
    check(rig, situation, kind)


@pytest.mark.parametrize(("state", "kind"), TENANTS)
def test_a_tenant_that_is_elsewhere(rig: Rig, state: str, kind: str) -> None:
    """What a real pageserver says in each state of a tenant that moves."""
    mark = rig.mark()
    rig.pageserver.admin.set_tenant(state)
    with Blocked(rig.server, rig.sql(kind)) as query:
        rig.daemon.wait_for(REFRESH)
        assert not query.done
        rig.pageserver.admin.set_tenant("active")
        assert query.join() == [(True,)]
    assert rig.events_after(mark)[0][:4] == TENANTS[state, kind]


@pytest.mark.parametrize("text", ["Read error", "Bad request: tried to read a page at 0/1"])
def test_an_error_of_its_own_right_goes_to_the_client(rig: Rig, text: str) -> None:
    """A page that cannot be read is an error of class 58: no suspicion, the connection stays."""
    mark = rig.mark()
    with rig.server.connect() as connection:
        connection.execute(rig.sql("getpage").encode())
        before = rig.pageserver.admin.stats()["connections"]["total"]
        rig.pageserver.admin.set_fault("error", text=text, count=1)
        with pytest.raises(psycopg.errors.IoError) as caught:
            connection.execute(rig.sql("getpage").encode())
        connection.execute(rig.sql("getpage").encode())
    assert caught.value.diag.message_detail == f"page server returned error: {text}"
    assert rig.events_after(mark) == []
    assert rig.requests_so_far() == ["manual"]
    assert rig.pageserver.admin.stats()["connections"]["total"] == before


def test_a_slow_answer_is_no_trouble(rig: Rig) -> None:
    """An answer within response_suspect_after is waited for and nothing more."""
    mark = rig.mark()
    rig.pageserver.admin.set_fault("slow", delay_ms=100)
    assert rig.server.value(rig.sql("getpage")) is True
    assert rig.events_after(mark) == []
    assert rig.requests_so_far() == ["manual"]


@pytest.mark.parametrize("how", ["fin", "rst", "timed_out", "shutdown"])
def test_an_idle_connection_that_ends_is_no_trouble(rig: Rig, how: str) -> None:
    """A peer that closes an idle connection, and takes the next one, raises no alarm."""
    mark = rig.mark()
    with rig.server.connect() as connection:
        connection.execute(rig.sql("getpage").encode())
        assert rig.pageserver.admin.disconnect(how, idle_only=True) >= 1  # type: ignore[arg-type]
        assert connection.execute(rig.sql("getpage").encode()).fetchone() == (True,)
    assert rig.events_after(mark) == []
    assert rig.requests_so_far() == ["manual"]


@pytest.mark.parametrize("kind", ["shutdown", "timed_out"])
def test_one_orderly_end_in_mid_request_is_no_trouble(rig: Rig, kind: str) -> None:
    """A pageserver that restarts while a request is out is given one free reconnect."""
    mark = rig.mark()
    with rig.server.connect() as connection:
        connection.execute(rig.sql("getpage").encode())
        rig.pageserver.admin.set_fault(kind, count=1)
        assert connection.execute(rig.sql("getpage").encode()).fetchone() == (True,)
    assert rig.events_after(mark) == []
    assert rig.requests_so_far() == ["manual"]


def test_a_refused_query_does_not_spin(rig: Rig) -> None:
    """A pageserver that logs in and refuses the query is asked with growing pauses."""
    rig.pageserver.admin.set_fault("refuse_query")
    before = rig.pageserver.admin.stats()["connections"]["total"]
    with Blocked(rig.server, rig.sql("getpage")) as query:
        wait_until(
            "8 attempts",
            lambda: rig.pageserver.admin.stats()["connections"]["total"] >= before + 8,
        )
        attempts = "SELECT consecutive_failures FROM neon_refresh.shards"
        first = rig.server.value(attempts)
        query.cancel()
        with pytest.raises(psycopg.errors.QueryCanceled):
            query.join()
        # 2 + 4 + ... + 1024 ms at the most until the pauses reach their ceiling of 1 s
        assert first < 40
