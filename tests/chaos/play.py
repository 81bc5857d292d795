"""Rounds: trouble by the schedule, then peace, then everything must be healed within its bound."""

import time
from collections.abc import Callable
from typing import Any, Final

import psycopg

from devstack.wait import POLL_SECONDS, wait_until
from tests.chaos.actions import calm, steps
from tests.chaos.cluster import CANCEL_AFTER_S, Cluster
from tests.chaos.figures import Figures
from tests.chaos.load import Load
from tests.chaos.schedule import Round
from tests.chaos.watch import Watch

Note = Callable[[str], None]
LOOK_S: Final = 0.02
UP_S: Final = 30.0
"""For a process to be there again, on a machine that has much else to do."""
QUIET_S: Final = 12 * CANCEL_AFTER_S
"""Until every session has ended its query: the longest asks for eight pages."""


class Player:
    """Plays rounds on one cluster under load."""

    def __init__(self, cluster: Cluster, load: Load, figures: Figures, note: Note) -> None:
        self._cluster = cluster
        self._load = load
        self._figures = figures
        self._note = note
        self._watch = Watch(cluster)
        self._why = ""

    def play(self, planned: Round) -> None:
        """Play one round; what must not happen is noted in the figures."""
        self._figures.begin(planned)
        self._trouble(planned)
        try:
            calm(self._cluster)
            wait_until("the daemon to be up", self._daemon_answers, UP_S)
            begun = time.monotonic()
            wait_until("healed", self._healed, planned.heal_bound)
        except (AssertionError, OSError, ValueError) as error:
            self._figures.unhealed(f"{error}; {self._why}")
        else:
            took = time.monotonic() - begun
            self._figures.healed(took)
            self._note(f"  healed after {took:.3f} s, the bound is {planned.heal_bound:g} s")
        self._look()
        self._load.go_on()

    def _trouble(self, planned: Round) -> None:
        due = sorted(
            (step for fault in planned.faults for step in steps(self._cluster, fault)),
            key=lambda step: step.at,
        )
        begun = time.monotonic()
        for step in due:
            self._until(begun + step.at)
            if step.first:
                self._note(f"  {time.monotonic() - begun:.3f}: {step.fault}")
                self._figures.fault(step.fault)
            step.act()
        self._until(begun + planned.seconds)

    def _until(self, moment: float) -> None:
        while (left := moment - time.monotonic()) > 0:
            time.sleep(min(left, LOOK_S))
            self._look()

    def _look(self) -> None:
        for what in (*self._watch.look(), *self._load.take_trouble()):
            self._figures.violation(what)

    # Peace

    def _daemon_answers(self) -> bool:
        self._look()
        try:
            return self._cluster.daemon.call("GET", "/livez", timeout=2.0)[0] == 200
        except OSError:
            return False

    def _healed(self) -> bool:
        """Whether the daemon is content, the list is the true one, and all read from it."""
        self._look()
        try:
            self._why = self._daemon_trouble() or self._list_trouble()
        except (OSError, AssertionError, psycopg.Error) as error:
            self._why = f"{type(error).__name__}: {error}"
        if self._why:
            return False
        self._why = self._read_trouble()
        return not self._why

    def _daemon_trouble(self) -> str:
        code, found = self._cluster.daemon.call("GET", "/status", timeout=2.0)
        if code != 200:
            return f"status answers {code}"
        status: dict[str, Any] = found
        if status["postgres"]["pid"] != self._cluster.postgres.pid:
            return f"the daemon knows postgres as {status['postgres']['pid']}"
        if status["status"] != "running" or not status["config"]["in_sync"]:
            return f"status {status['status']}, config {status['config']}, {status['error']}"
        return ""

    def _list_trouble(self) -> str:
        with self._cluster.postgres.connect(connect_timeout=2) as session:
            row = session.execute(
                "select setting from pg_settings where name = 'neon.pageserver_connstring'"
            ).fetchone()
        found = row[0] if row else None
        return "" if found == self._cluster.connstring else f"the list is {found}"

    def _read_trouble(self) -> str:
        """Every session reads the whole table, and only from those who have the shards."""
        self._load.quiet(QUIET_S)
        before = self._cluster.pages_sent()
        right = self._load.verify()
        sent = [b - a for a, b in zip(before, self._cluster.pages_sent(), strict=True)]
        if not right:
            self._load.go_on()  # what is not healed is found by those who read
            time.sleep(POLL_SECONDS)
            return "a session could not read the whole table"
        strangers = [n for n, count in enumerate(sent) if count and n not in self._cluster.owners]
        return f"pageservers {strangers} have no shard and served pages" if strangers else ""
