"""A server and its pageserver in trouble, and what has to be seen of an outage."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest

from devstack.launch import Pageserver
from devstack.postgres import Postgres
from devstack.wait import wait_until
from tests.pg.queries import Blocked
from tests.pg.situations import Seen
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
PATIENCE = ("neon_refresh.connect_timeout", "neon_refresh.response_suspect_after")
LONG, SHORT = "10s", "300ms"
"""Patience with a pageserver: more than an answer takes on a busy machine, and for a silent one."""
IN_FLIGHT = "SELECT request_in_flight FROM neon_refresh.stat"


@dataclass(frozen=True, kw_only=True)
class Setup:
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

    def requests_total(self) -> int:
        """Return how many requests the worker has begun."""
        total: int = self.server.value("SELECT requests_total FROM neon_refresh.stat")
        return total

    def open_connections(self) -> int:
        """Return how many connections the pageserver has."""
        now: int = self.pageserver.admin.stats()["connections"]["now"]
        return now

    def wait_healthy(self) -> None:
        """Wait until nothing is suspected."""
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

    def wait_at_most(self, patience: str) -> None:
        """Suspect a silent pageserver after *patience*, in the handshake and after it."""
        changed = dict.fromkeys(PATIENCE, patience)
        if self.server.value(f"SHOW {PATIENCE[0]}") != patience:
            self.server.configure(changed)
            self.server.reload()
            wait_until("new limits", lambda: self.server.value(f"SHOW {PATIENCE[-1]}") == patience)

    def heal(self) -> None:
        """Bring everything back to health and forget the past."""
        self.wait_at_most(LONG)
        self.daemon.answer()
        self.pageserver.admin.clear_faults()
        self.pageserver.admin.set_tenant("active")
        self.server.value(self.sql("exists"))
        self.wait_healthy()
        wait_until("idle servers", lambda: self.open_connections() == 0)
        wait_until("an idle worker", lambda: not self.server.value(IN_FLIGHT))
        self.daemon.clear()


def outage(setup: Setup, kind: str, seen: Seen, *, end: Callable[[], object]) -> None:
    """Run a request into the trouble that has begun, *end* it once the daemon is asked.

    The daemon answers late, so that one request must do for the whole outage.
    """
    setup.wait_at_most(SHORT if seen.trouble == "silent" else LONG)
    mark = setup.mark()
    setup.daemon.hang()
    before = setup.requests_total()
    with Blocked(setup.server, setup.sql(kind)) as query:
        post = setup.daemon.wait_for(REFRESH)[0]
        if seen.error is None:
            assert not query.done
            if seen.kept:
                assert 1 == setup.open_connections()
        else:
            with pytest.raises(psycopg.Error, match=seen.error_text) as caught:
                query.join()
            assert caught.value.sqlstate == seen.error
            wait_until("the drop of the connection", lambda: setup.open_connections() == 0)
        end()
        if seen.error is None:
            assert [(True,)] == query.join()
        else:
            again = query.connection.execute(setup.sql(kind).encode()).fetchall()
            assert [(True,)] == again
        wait_until("one connection", lambda: 1 == setup.open_connections())
        setup.wait_healthy()
    setup.daemon.answer()
    wait_until("the worker to be idle", lambda: not setup.server.value(IN_FLIGHT))
    assert setup.requests_total() == before + 1
    assert 1 == len(setup.daemon.of(REFRESH))
    check_report(setup.events_after(mark), post.body, seen)


def check_report(events: list[tuple[Any, ...]], body: dict[str, Any], seen: Seen) -> None:
    """Check what the view and the request say of an outage."""
    assert events[0][:1] + events[0][2:4] == (seen.trouble, seen.sqlstate, seen.certainty), events
    assert events[0][1] in seen.phase.split("|")
    assert re.fullmatch(seen.text, events[0][4])
    expected = {
        "source": "pageserver",
        "shard": 0,
        "class": seen.trouble,
        "sqlstate": seen.sqlstate or "",
    }
    assert {key: body[key] for key in expected} == expected
    # the newest, when the worker came to it
    assert body["text"] in [event[4] for event in events]
