"""How long a standby needs to follow a new Patroni leader, and who needs how long.

Standbys of one cluster in the same rounds: with compute_ctl by etcd and by Patroni's REST API; the
member that neither led nor leads; and a plain standby whose `primary_conninfo` names all members,
with `target_session_attrs=read-write`. The clock starts when the leader key is written. *Streams*
is the connection to the new leader, which may not have been promoted yet; *row* is the first row
that it takes, seen on the standby. All is played once for each `wal_retrieve_retry_interval`.

    .venv/bin/python -m bench.follow [--rounds 10] [--retry 200ms 5s] [--json FILE]

Needs Debian's etcd-server, patroni and python3-etcd.
"""

import argparse
import base64
import http.client
import json
import shutil
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import psycopg

from bench.figures import Goal, median
from bench.outcome import Outcome, add_json_argument
from bench.unavailable import UnavailableError
from devstack import patroni
from devstack.etcd import Etcd
from devstack.outside_standby import OutsideStandby
from devstack.patroni import PATIENCE, SCOPE, USER, PatroniCluster, PatroniMember
from devstack.wait import wait_until

BY_STORE, BY_API = "compute_ctl, etcd", "compute_ctl, REST"
MEMBER, PLAIN = "Patroni's own member", "plain, several hosts"
WHO = (BY_STORE, BY_API, MEMBER, PLAIN)
SWITCHED, KILLED = CASES = ("planned switchover", "leader killed (-9)")
PAUSE_S = 0.005
SEEN = (
    "select (select sender_port from pg_stat_wal_receiver where status = 'streaming'),"
    " (select max(n) from story)"
)

Session = psycopg.Connection[tuple[Any, ...]]


class LeaderKey:
    """Watches the leader key, and notes when it is written."""

    def __init__(self, etcd: Etcd) -> None:
        self._written: list[tuple[float, str]] = []
        self._connection = http.client.HTTPConnection("127.0.0.1", etcd.port)
        key = base64.b64encode(f"/service/{SCOPE}/leader".encode()).decode()
        body = json.dumps({"create_request": {"key": key}})
        self._connection.request("POST", "/v3/watch", body)
        self._answer = self._connection.getresponse()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        while line := self._answer.readline():
            at = time.perf_counter()
            for event in json.loads(line).get("result", {}).get("events", ()):
                if event.get("type") != "DELETE":
                    name = base64.b64decode(event["kv"]["value"]).decode()
                    self._written.append((at, name))

    def written(self, *, but: str) -> list[tuple[float, str]]:
        """Return time and name of what was written last, if that is another name than *but*."""
        return [(at, name) for at, name in self._written[-1:] if name != but]


@dataclass
class Followed:
    """What one round has measured of one standby, in milliseconds; None: not yet."""

    session: Session
    streams: float | None = None
    row: float | None = None

    def look(self, port: int, row: int, begun: float) -> bool:
        """Look once; return whether all is measured."""
        found = self.session.execute(SEEN).fetchall()[0]
        now = (time.perf_counter() - begun) * 1000
        if found[0] == port and self.streams is None:
            self.streams = now
        if (found[1] or 0) >= row and self.row is None:
            self.row = now
        return self.streams is not None and self.row is not None


@dataclass
class Rounds:
    """A cluster of three, and the standbys outside."""

    stack: ExitStack
    retry_interval: str
    cluster: PatroniCluster = field(init=False)
    number: int = 0
    streams: dict[tuple[str, str], list[float]] = field(default_factory=lambda: defaultdict(list))
    rows: dict[tuple[str, str], list[float]] = field(default_factory=lambda: defaultdict(list))

    def __post_init__(self) -> None:
        self.cluster = self.stack.enter_context(
            PatroniCluster(("a", "b", "c"), retry_interval=self.retry_interval)
        )
        with self.cluster.leader().connect() as session:
            session.execute("create table story (n int)")
        self._key = LeaderKey(self.cluster.etcd)
        self._outside = {
            BY_STORE: self._standby("store", self.cluster.store),
            BY_API: self._standby("api", self.cluster.urls),
            PLAIN: self._standby("plain", None),
        }
        ports = [str(member.port) for member in self.cluster.members.values()]
        hosts = ",".join(["127.0.0.1"] * len(ports))
        plain = f"host={hosts} port={','.join(ports)} user={USER} target_session_attrs=read-write"
        self._outside[PLAIN].server.configure({"primary_conninfo": plain})
        self._outside[PLAIN].server.reload()

    def _standby(self, name: str, follow: str | None) -> OutsideStandby:
        made = OutsideStandby(self.cluster, name=name, follow=follow)
        return self.stack.enter_context(made)

    def play(self, case: str) -> None:
        """Play one round, and make all well again."""
        old = self.cluster.leader()
        self._settle(old)
        trigger = old.kill if case == KILLED else self.cluster.switch_over
        asked = threading.Thread(target=trigger, daemon=True)
        asked.start()
        [(begun, name)] = wait_until(
            "another leader", lambda: self._key.written(but=old.member), PATIENCE
        )
        new = self.cluster.members[name]
        with ExitStack() as sessions:
            self._measure(case, begun, new, self._targets(sessions, old, new), sessions)
        asked.join(PATIENCE)
        if case == KILLED:
            shutil.rmtree(old.data)  # it may have diverged: it is copied anew
            old.start()

    def _settle(self, leader: PatroniMember) -> None:
        """Wait until everybody streams from *leader*, and has all of its log."""
        self.cluster.wait_level(leader)
        self.number += 1
        with leader.connect() as session:
            session.execute("insert into story values (%s)", (self.number,))
        self.cluster.wait_level(leader)
        for who, standby in self._outside.items():
            wait_until(
                f"{who} to stream",
                partial(self._has_all, standby, leader),
                PATIENCE,
            )

    def _has_all(self, standby: OutsideStandby, leader: PatroniMember) -> bool:
        return standby.server.query(SEEN) == [(leader.port, self.number)]

    def _targets(
        self, sessions: ExitStack, old: PatroniMember, new: PatroniMember
    ) -> dict[str, Followed]:
        third = next(it for it in self.cluster.members.values() if it not in (old, new))
        connect: dict[str, Callable[[], Session]] = {
            who: standby.server.connect for who, standby in self._outside.items()
        }
        connect[MEMBER] = third.connect
        return {who: Followed(sessions.enter_context(it())) for who, it in connect.items()}

    def _measure(
        self,
        case: str,
        begun: float,
        new: PatroniMember,
        targets: dict[str, Followed],
        sessions: ExitStack,
    ) -> None:
        """Write a row as soon as *new* takes it, and look at all until they have it."""
        self.number += 1
        writer = sessions.enter_context(new.connect())
        written = False

        def all_measured() -> bool:
            nonlocal written
            if not written:
                with suppress(psycopg.errors.ReadOnlySqlTransaction):
                    writer.execute("insert into story values (%s)", (self.number,))
                    written = True
            looks = [it.look(new.port, self.number, begun) for it in targets.values()]
            return all(looks)

        until = time.perf_counter() + PATIENCE
        while not all_measured():
            if time.perf_counter() > until:
                raise RuntimeError(f"not within {PATIENCE:g} s: {targets}")
            time.sleep(PAUSE_S)
        for who, found in targets.items():
            self.streams[case, who].append(found.streams or 0.0)
            self.rows[case, who].append(found.row or 0.0)


def table(rounds: Rounds) -> list[tuple[object, ...]]:
    """Return a row for each case and follower."""
    return [
        (f"{case}: {who}", len(streams), median(streams), max(streams), median(rows), max(rows))
        for case in CASES
        for who in WHO
        for streams, rows in [(rounds.streams[case, who], rounds.rows[case, who])]
    ]


def goals(rounds: Rounds) -> list[Goal]:
    """Return what was wanted, and what was measured."""
    return [
        Goal(
            what=f"{rounds.retry_interval}, {case}, {who}: streams, median",
            relation="<=",
            limit=1000,
            measured=median(rounds.streams[case, who]),
        )
        for case in CASES
        for who in (BY_STORE, BY_API)
    ]


def run(outcome: Outcome, count: int, retry_intervals: Sequence[str]) -> None:
    """Play and print. Raises UnavailableError."""
    if missing := patroni.missing():
        raise UnavailableError(f"not installed: {', '.join(missing)}")
    columns = ("follower", "rounds", "streams", "worst", "row", "worst row")
    wanted: list[Goal] = []
    for interval in retry_intervals:
        with ExitStack() as stack:
            rounds = Rounds(stack, interval)
            for _ in range(count):
                for case in CASES:
                    rounds.play(case)
        title = f"wal_retrieve_retry_interval {interval}: ms since the leader key"
        outcome.table(f"follow_{interval}", title, columns, table(rounds))
        wanted += goals(rounds)
    outcome.goals(wanted)


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.follow",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rounds", type=int, default=10, help="of each case; 40 s together")
    parser.add_argument("--retry", nargs="+", default=["200ms", "5s"], metavar="INTERVAL")
    add_json_argument(parser, "follow")
    given = parser.parse_args()
    outcome = Outcome("follow")
    try:
        run(outcome, given.rounds, given.retry)
    except UnavailableError as error:
        outcome.note(str(error))
    outcome.save(given.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
