"""A changed setting, from the order until a session of Postgres sees it."""

import time
from collections.abc import Callable

import psycopg

from devstack.compute import Compute
from devstack.launch import Pageserver
from devstack.postgres import Postgres

SETTING = "work_mem"
BY_HAND = "maintenance_work_mem"
"""What a person sets beside the daemon."""
VALUES = ("5MB", "6MB")
SEEN_WITHIN_S = 60.0
LOOK_EVERY_S = 0.0005
"""No event tells that a session has a new value; to ask without pause would slow the reload."""


def another(session: psycopg.Connection[tuple[object, ...]], name: str = SETTING) -> str:
    """Return a value that is not in force."""
    row = session.execute(f"show {name}".encode()).fetchone()
    return VALUES[1] if row == (VALUES[0],) else VALUES[0]


def seen_after_ms(
    server: Postgres,
    order: Callable[[str], object],
    rounds: int,
    *,
    name: str = SETTING,
    before: Callable[[], object] = lambda: None,
) -> list[float]:
    """Order a new value of *name* *rounds* times; the milliseconds until a session has it.

    *before* is called before each order, and takes no time of it.
    """
    found = []
    with server.connect() as session:
        for _ in range(rounds):
            value = another(session, name)
            before()
            begun = time.perf_counter()
            order(value)
            while session.execute(f"show {name}".encode()).fetchone() != (value,):
                if time.perf_counter() - begun > SEEN_WITHIN_S:
                    raise TimeoutError(f"{name} is not {value} after {SEEN_WITHIN_S:g} s")
                time.sleep(LOOK_EVERY_S)
            found.append((time.perf_counter() - begun) * 1000)
    return found


def by_hand_after_ms(server: Postgres, rounds: int) -> list[float]:
    """Do what no change can do without: write a file, signal the server; until a session sees it.

    No fsync, no check, no proof.
    """

    def order(value: str) -> None:
        server.configure({BY_HAND: value})
        server.reload()

    server.configure({BY_HAND: "64MB"})
    return seen_after_ms(server, order, rounds, name=BY_HAND)


class Publisher:
    """Orders by a document in the daemon's source and a request to the daemon."""

    def __init__(self, compute: Compute, pageserver: Pageserver) -> None:
        self._compute = compute
        self._pageserver = pageserver

    def order(self, value: str) -> None:
        """Publish; the daemon's answer is that it has been asked."""
        self._compute.publish(self._pageserver, settings={SETTING: value})
        code, answer = self._compute.daemon.call("POST", "/refresh_configuration", tcp=True)
        if code != 200:
            raise RuntimeError(f"the daemon answered {code}: {answer}")

    def rest(self) -> None:
        """Wait until the daemon has done with the last order: its proof comes after its effect."""
        self._compute.wait_in_sync()

    def prove_often(self, rounds: int) -> list[float]:
        """Publish *rounds* times and wait for the proof of each."""
        with self._compute.postgres.connect() as session:
            return [self._prove(another(session)) for _ in range(rounds)]

    def _prove(self, value: str) -> float:
        """Publish; the milliseconds until the daemon says that Postgres has proven it."""
        begun = time.perf_counter()
        self._compute.publish(self._pageserver, settings={SETTING: value})
        outcome = self._compute.daemon.refresh()
        if outcome != "applied":
            raise RuntimeError(f'the outcome is "{outcome}"')
        return (time.perf_counter() - begun) * 1000
