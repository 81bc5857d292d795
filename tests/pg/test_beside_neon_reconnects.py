"""Neon's client reads the list, sleeps, connects: kept where a new list ends the sleep."""

import socket
import threading
import time
from collections.abc import Iterator
from datetime import datetime

import psycopg
import pytest

from devstack.installation import free_port
from devstack.postgres import Postgres
from devstack.wait import wait_until
from tests.pg.neon_reports import state

LOG = 15
OUTAGE_S = 1.5
LONG_S = 0.3
"""Alone, Neon's client needs longer: after such an outage it sleeps for a second, goes once more to
the old address, and sleeps again."""
ROUNDS = 4
FAILED = r"\[{}\] client backend LOG: .* could not connect to pageserver"


@pytest.fixture
def server(beside: Postgres) -> Postgres:
    """A server whose sessions can reconnect as Neon's client does."""
    library = str(beside.value("SHOW shared_preload_libraries")).split(",")[0]
    beside.query(
        "CREATE FUNCTION fake_neon_reconnect(int) RETURNS timestamptz "
        f"AS '{library}', 'fake_neon_reconnect' LANGUAGE c"
    )
    return beside


@pytest.fixture
def listener() -> Iterator[int]:
    """A port that takes connections."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
        yield port


class Reconnect:
    """A session that loses its pageserver, in a thread; `at` is when it is connected again."""

    def __init__(self, server: Postgres) -> None:
        self._server = server
        self._connected: list[datetime] = []
        self.error = ""
        self.pid = 0
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        with self._server.connect() as session:
            self.pid = session.info.backend_pid
            try:
                ((at,),) = session.execute(f"SELECT fake_neon_reconnect({LOG})".encode()).fetchall()
                self._connected.append(at)
            except psycopg.Error as error:
                self.error = str(error)

    def at(self) -> datetime:
        """Return when it was connected, once it is."""
        self.join()
        return self._connected[0]

    def join(self) -> None:
        """Wait for its end."""
        self._thread.join(30)
        assert not self._thread.is_alive()


def lose(server: Postgres) -> Reconnect:
    """Return a session that has tried in vain for a while to connect."""
    server.configure({"neon.pageserver_connstring": f"host=127.0.0.1 port={free_port()}"})
    server.reload()
    lost = Reconnect(server)
    wait_until("a failure", lambda: lost.pid and server.log_contains(FAILED.format(lost.pid)))
    end = time.monotonic() + OUTAGE_S
    wait_until("the end of the outage", lambda: time.monotonic() >= end)
    return lost


def heal(server: Postgres, port: int) -> float:
    """Return the seconds from a reload with a new list until the session is connected."""
    lost = lose(server)
    server.configure({"neon.pageserver_connstring": f"host=127.0.0.1 port={port}"})
    server.reload()
    connected = lost.at()
    loaded = server.value("SELECT pg_conf_load_time()")
    assert isinstance(loaded, datetime)
    return (connected - loaded).total_seconds()


def test_a_new_list_is_used_at_once(server: Postgres, listener: int) -> None:
    """After a second of failures Neon's client alone would need more than one more."""
    found: list[float] = []
    while len(found) < ROUNDS and not any(seconds < LONG_S for seconds in found):
        found.append(heal(server, listener))
    assert min(found) < LONG_S


def test_a_query_that_is_kept_can_be_cancelled(server: Postgres) -> None:
    """A cancel ends the sleep at once, and the query at its next attempt."""
    lost = lose(server)
    server.query("SELECT pg_cancel_backend(%s)", lost.pid)
    lost.join()
    assert "canceling statement due to user request" in lost.error
    assert "suspected" == state(server, 0)
