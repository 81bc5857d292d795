"""The load: sessions that read pages, know what must be in them and how long it may take.

Each runs in a thread of its own. The expected pages were read by Postgres from its own files, not
by anything under test. A session that lost its connection opens another.
"""

import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import psycopg

from devstack.postgres import Postgres
from devstack.wait import wait_until
from tests.chaos.verdict import SLACK_S, Ended, Tally, expected, hung

CONNECT_S = 15.0
BATCH = 8
TIMEOUT_S = 1.5
VERIFY_S = 20.0
MANY = """
select block, neon_refresh.read_page('story', block) from unnest(%s::bigint[]) as block
"""


@dataclass(frozen=True, kw_only=True)
class Expected:
    """The table as it is on disk, and the bound of one page request in seconds."""

    pages: Sequence[bytes]
    cancel_after: float


@dataclass(kw_only=True)
class Session:
    """One client. `run` is its thread; the rest may be called from others."""

    name: str
    postgres: Postgres
    expected: Expected
    rng: random.Random
    timeout: float | None
    last_crash: Callable[[], float | None]
    tally: Tally = field(default_factory=Tally)
    trouble: list[str] = field(default_factory=list)
    """What must not have happened."""
    verified: int = 0
    """How many whole tables were read right on demand."""

    def __post_init__(self) -> None:
        self._verify = threading.Event()
        self._waiting = False
        self._go = threading.Event()
        self._go.set()
        self._over = False
        self._deadline: float | None = None
        self._connection: psycopg.Connection[Any] | None = None
        self.thread = threading.Thread(target=self._run, name=self.name, daemon=True)

    # From outside

    def pause(self) -> None:
        """Ask it to stop reading after the query at hand; `idle` tells when it has."""
        self._go.clear()

    def resume(self) -> None:
        """Let it read again."""
        self._go.set()

    def verify(self) -> None:
        """While paused: let it read the whole table; `idle` tells when it has."""
        self._verify.set()

    @property
    def idle(self) -> bool:
        """Whether it waits for orders."""
        return self._waiting and not self._verify.is_set()

    @property
    def stuck(self) -> bool:
        """Whether what it does now takes longer than it may."""
        deadline = self._deadline
        return deadline is not None and time.monotonic() > deadline + SLACK_S

    def end(self) -> bool:
        """End it; whether its thread has ended within the bound of a query."""
        self._over = True
        self._go.set()
        self.thread.join(BATCH * self.expected.cancel_after + CONNECT_S + SLACK_S)
        return not self.thread.is_alive()

    # Its thread

    def _run(self) -> None:
        while not self._over:
            self._waiting = False
            if self._go.is_set():
                self._one()
            elif self._verify.is_set():
                self.verified += self._read(range(len(self.expected.pages)), bound=VERIFY_S)
                self._waiting = True
                self._verify.clear()  # last: with it the order is carried out
            else:
                self._waiting = True
                self._verify.wait(0.01)
        self._close()

    def _one(self) -> None:
        last = len(self.expected.pages)
        if self.rng.random() < 0.1:
            self._length()
            return
        count = self.rng.choice((1, 1, BATCH))
        blocks = [self.rng.randrange(last) for _ in range(count)]
        self._read(blocks, bound=count * self.expected.cancel_after)

    def _read(self, blocks: Sequence[int], *, bound: float) -> bool:
        rows = self._ask(MANY, [list(blocks)], bound=bound)
        if rows is None:
            return False
        self.tally.pages += len(rows)
        wrong = [block for block, page in rows if page != self.expected.pages[block]]
        self._note_wrong(len(wrong), f"blocks {wrong}")
        if len(rows) != len(blocks):
            self._note_wrong(1, f"{len(rows)} rows for {len(blocks)} blocks")
        return not wrong

    def _length(self) -> None:
        rows = self._ask(
            "select neon_refresh.rel_nblocks('story')", None, bound=self.expected.cancel_after
        )
        if rows is not None and rows != [(len(self.expected.pages),)]:
            self._note_wrong(1, f"length {rows}")

    def _note_wrong(self, count: int, what: str) -> None:
        if count:
            self.tally.wrong += count
            self.trouble.append(f"{self.name}: wrong answer: {what}")

    def _ask(self, sql: str, arguments: Any, *, bound: float) -> list[tuple[Any, ...]] | None:
        if self.timeout is not None:
            bound = min(bound, self.timeout)
        if self._connection is None:
            bound += CONNECT_S
        begun = time.monotonic()
        self._deadline = begun + bound
        error: psycopg.Error | None = None
        rows: list[tuple[Any, ...]] | None = None
        try:
            cursor = self._connected().execute(sql.encode(), arguments, binary=True)
            rows = cursor.fetchall()
        except psycopg.Error as failure:
            error = failure
        self._deadline = None
        self._judge(time.monotonic() - begun, bound, error)
        return rows

    def _judge(self, took: float, bound: float, error: psycopg.Error | None) -> None:
        crash = self.last_crash()
        ended = Ended(
            took=took,
            bound=bound,
            timeout=self.timeout,
            error=error is not None,
            state=(error.sqlstate or "") if error is not None else "",
            since_crash=None if crash is None else time.monotonic() - crash,
        )
        self.tally.queries += 1
        self.tally.slowest = max(self.tally.slowest, took)
        if hung(ended):
            self.tally.hung += 1
            self.trouble.append(
                f"{self.name}: hung: {took:.1f} s where {bound:.1f} s are the bound"
            )
        if error is not None:
            name = ended.state or "lost"
            self.tally.errors[name] = self.tally.errors.get(name, 0) + 1
            if not expected(ended):
                self.tally.unexpected += 1
                self.trouble.append(f"{self.name}: after {took:.1f} s [{name}] {error}")
            if self._connection is not None and self._connection.closed:
                self._close()
            if self._connection is None:
                time.sleep(0.02)  # a server that starts up is not stormed

    def _connected(self) -> psycopg.Connection[Any]:
        if self._connection is None:
            limit = int((self.timeout or 0) * 1000)
            self._connection = self.postgres.connect(
                connect_timeout=int(CONNECT_S),
                application_name=self.name,
                options=f"-c statement_timeout={limit}",
            )
        return self._connection

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class Load:
    """All sessions."""

    def __init__(
        self,
        postgres: Postgres,
        wanted: Expected,
        *,
        count: int,
        seed: int,
        last_crash: Callable[[], float | None],
    ) -> None:
        self.sessions = [
            Session(
                name=f"session-{number}",
                postgres=postgres,
                expected=wanted,
                rng=random.Random(f"load {seed} {number}"),
                timeout=TIMEOUT_S if number % 3 == 2 else None,
                last_crash=last_crash,
            )
            for number in range(count)
        ]

    def start(self) -> None:
        """Begin to read."""
        for session in self.sessions:
            session.thread.start()

    def quiet(self, timeout: float) -> None:
        """Let every session end its query and wait. Raises AssertionError."""
        for session in self.sessions:
            session.pause()
        wait_until("all sessions to pause", self._idle, timeout)

    def verify(self) -> bool:
        """While quiet: every session reads the whole table; whether all did, and rightly.

        Raises AssertionError where one does not come to an end.
        """
        before = [session.verified for session in self.sessions]
        for session in self.sessions:
            session.verify()
        wait_until("all sessions to verify", self._idle, VERIFY_S + CONNECT_S + SLACK_S)
        return [session.verified for session in self.sessions] == [one + 1 for one in before]

    def go_on(self) -> None:
        """Read again."""
        for session in self.sessions:
            session.resume()

    def _idle(self) -> bool:
        return all(session.idle for session in self.sessions)

    def end(self) -> list[str]:
        """End all; the names of those that did not."""
        return [session.name for session in self.sessions if not session.end()]

    def total(self) -> Tally:
        """What all have seen."""
        total = Tally()
        for session in self.sessions:
            total.add(session.tally)
        return total

    def take_trouble(self) -> list[str]:
        """What must not have happened, since the last call."""
        found: list[str] = []
        for session in self.sessions:
            while session.trouble:
                found.append(session.trouble.pop(0))
            if session.stuck:
                found.append(f"{session.name}: hangs")
        return found
