"""Many backends that lose their pageservers together: how much they ask, and when all are served.

Each backend reads one page over a connection of its own, the shards in turns. All streams are cut
and all ports refuse; every backend asks for its page at once. The news is published already, or a
second later. Counted are the requests that reached the daemon, its fetches from the control plane,
and the time until the last backend has its page. Beside that: as many plain libpq clients, one
after the other, at the pageserver that heals the herd. A second table tells what it costs if one
outage follows the other at once, and if the new pageserver refuses logins at first.

    .venv/bin/python -m bench.herd [--backends N ...] [--shards N ...] [--late SECONDS ...]
        [--rounds 3] [--json FILE]
"""

import argparse
import select
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import psycopg

from bench.outcome import Outcome, add_json_argument
from bench.pagestream import must_connect, page_requests, read_page
from devstack.compute import Compute
from devstack.fault_proxy.client import FaultyControlPlane
from devstack.launch import Pageserver
from devstack.postgres import Template
from devstack.wait import wait_until
from pg_hook.shards import shard_of_block

BACKENDS = (1, 10, 30, 100, 300)
SHARDS = (1, 8, 64)
LATE_S = (0.0, 1.0)
ROWS = 100_000
STRIPE_PAGES = 1
REST_S = 0.08
"""Before each outage: more than the library's shortest pause between two requests."""
SERVED_WITHIN_S = 50.0
COLUMNS = (
    "published after, s",
    "backends",
    "shards",
    "requests",
    "fetches",
    "last served after, ms",
    "plain clients, ms",
)
TROUBLE = ("case", "backends", "requests", "fetches", "last served after, ms")


@dataclass(frozen=True, kw_only=True)
class Round:
    """One outage of everybody."""

    requests: float
    fetches: float
    served_ms: float
    """Since the news was published, or since they asked where that is later."""
    plain_ms: float


class Herd:
    """A compute with many sessions and two pageservers that take turns."""

    def __init__(self, compute: Compute, backends: int) -> None:
        self._compute = compute
        compute.fill(ROWS)
        self._pages = compute.pages()
        self._node = compute.postgres.value("select pg_relation_filenode('story')::bigint")
        self._ill, self._well = self._start("a"), self._start("b")
        self._shards = 1
        self._publish(self._ill)
        self._daemon = compute.start_daemon()
        self._sessions = [compute.postgres.connect() for _ in range(backends)]
        self._request = page_requests(compute.postgres, "story", 1)[0]

    def _start(self, name: str) -> Pageserver:
        return self._compute.pageserver(name, stripe_size=STRIPE_PAGES)

    def _publish(self, place: Pageserver) -> None:
        stripe = STRIPE_PAGES if self._shards > 1 else None
        self._compute.publish(*[place] * self._shards, stripe_size=stripe)

    def _counts(self) -> tuple[float, float]:
        requests = self._daemon.metric("compute_ctl_refresh_requests_total")
        return requests, self._daemon.metric("compute_ctl_cplane_requests_total")

    def _blocks(self) -> list[int]:
        """Return a block of each shard."""
        found: dict[int, int] = {}
        for block in range(self._pages):
            shard = shard_of_block(
                self._node, block, shard_count=self._shards, stripe_size=STRIPE_PAGES
            )
            found.setdefault(shard, block)
        return list(found.values())

    def spread(self, shards: int) -> None:
        """Serve from so many shards from now on."""
        self._shards = shards
        self._publish(self._ill)
        if self._daemon.refresh() not in ("applied", "unchanged"):
            raise RuntimeError("the list of shards was not applied")
        self._compute.wait_in_sync()

    def lose(
        self, backends: int, late_s: float, *, refused: int = 0, rest_s: float = REST_S
    ) -> Round:
        """Take the pageserver from so many sessions at once, after a pause of *rest_s*.

        The other one refuses the first *refused* logins.
        """
        sessions, blocks = self._sessions[:backends], self._blocks()
        queries = [_read(blocks[number % len(blocks)]) for number in range(backends)]
        for session, query in zip(sessions, queries, strict=True):
            session.execute(query)
        time.sleep(rest_s)
        before = self._counts()
        if refused:
            self._well.admin.set_fault("auth_fail", count=refused)
        if not late_s:
            self._publish(self._well)
        self._ill.admin.set_fault("refuse")
        self._ill.admin.disconnect("rst", idle_only=False)
        begun = time.perf_counter()
        for session, query in zip(sessions, queries, strict=True):
            session.pgconn.send_query(query)
        if late_s:
            time.sleep(late_s)
            begun = time.perf_counter()
            self._publish(self._well)
        _wait_for_all(sessions)
        served = (time.perf_counter() - begun) * 1000
        after = self._counts()
        self._recover()
        return Round(
            requests=after[0] - before[0],
            fetches=after[1] - before[1],
            served_ms=served,
            plain_ms=self._plain(backends),
        )

    def _plain(self, clients: int) -> float:
        """Milliseconds that so many connects and pages take by plain libpq."""
        streams, begun = [], time.perf_counter()
        for _ in range(clients):
            streams.append(must_connect(self._ill.url))
            read_page(streams[-1], self._request)
        taken = (time.perf_counter() - begun) * 1000
        for stream in streams:
            stream.finish()
        return taken

    def _recover(self) -> None:
        self._compute.wait_in_sync()
        self._daemon.wait_status(
            "rest", lambda it: it["status"] == "running" and not it["refresh"]["pending"]
        )
        for pageserver in (self._ill, self._well):
            pageserver.admin.clear_faults()
        wait_until("the pageserver to listen", lambda: self._ill.admin.stats()["listening"])
        self._ill, self._well = self._well, self._ill

    def close(self) -> None:
        """End the sessions."""
        for session in self._sessions:
            session.close()


def _read(block: int) -> bytes:
    return f"select length(neon_refresh.read_page('story', {block}))".encode()


def _wait_for_all(sessions: Sequence[psycopg.Connection[tuple[object, ...]]]) -> None:
    """Wait for the page of every session. Raises RuntimeError for one that fails."""
    deadline = time.monotonic() + SERVED_WITHIN_S
    waiting = {session.pgconn.socket: session.pgconn for session in sessions}
    while waiting:
        left = max(0.0, deadline - time.monotonic())
        ready, _, _ = select.select(list(waiting), [], [], left)
        if not ready:
            raise TimeoutError(f"{len(waiting)} backends not served in {SERVED_WITHIN_S:g} s")
        for socket in ready:
            pg = waiting[socket]
            pg.consume_input()
            if pg.is_busy():
                continue
            result = pg.get_result()
            if result is None or result.get_value(0, 0) != b"8192":
                raise RuntimeError("a backend got no page")
            while pg.get_result() is not None:
                pass
            del waiting[socket]


@contextmanager
def running_herd(backends: int) -> Iterator[Herd]:
    """Start a herd whose control plane tells of a move only when it is asked."""
    with ExitStack() as stack:
        template = Template()
        stack.callback(template.remove)
        folder = stack.enter_context(TemporaryDirectory(prefix="bench-"))
        plane = stack.enter_context(FaultyControlPlane(Path(folder)))
        settings = {"max_connections": backends + 20}
        compute = Compute(template, name="herd", control_plane=plane, settings=settings)
        stack.enter_context(compute).faults.strike("no_reports")
        herd = Herd(compute, backends)
        stack.callback(herd.close)
        yield herd


def measure(
    backends: Sequence[int], shards: Sequence[int], late: Sequence[float], rounds: int
) -> list[tuple[object, ...]]:
    """Return the rows of the table: the median of a few rounds each."""
    rows = []
    with running_herd(max(backends)) as herd:
        for late_s, count in product(late, shards):
            herd.spread(count)
            for size in backends:
                found = [herd.lose(size, late_s) for _ in range(rounds)]
                columns = ("requests", "fetches", "served_ms", "plain_ms")
                values = [median(getattr(it, column) for it in found) for column in columns]
                rows.append((late_s, size, count, *values))
    return rows


def measure_trouble(backends: int, rounds: int) -> list[tuple[object, ...]]:
    """Return the rows of the second table: the median of a few rounds each."""
    cases: dict[str, dict[str, float]] = {
        "one outage after the other": {"rest_s": 0.0},
        "half of the logins refused": {"refused": max(1, backends // 2)},
        "each login refused twice": {"refused": 2 * backends},
    }
    rows = []
    with running_herd(backends) as herd:
        herd.lose(backends, 0.0)
        for case, how in cases.items():
            found = [herd.lose(backends, 0.0, **how) for _ in range(rounds)]  # type: ignore[arg-type]  # a number of logins is whole
            columns = ("requests", "fetches", "served_ms")
            values = [median(getattr(it, column) for it in found) for column in columns]
            rows.append((case, backends, *values))
    return rows


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.herd", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--backends", type=int, nargs="+", default=BACKENDS, metavar="N")
    parser.add_argument("--shards", type=int, nargs="+", default=SHARDS, metavar="N")
    parser.add_argument("--late", type=float, nargs="+", default=LATE_S, metavar="SECONDS")
    parser.add_argument("--rounds", type=int, default=3)
    add_json_argument(parser, "herd")
    given = parser.parse_args()
    outcome = Outcome("herd")
    rows = measure(given.backends, given.shards, given.late, given.rounds)
    outcome.table("herd", "everybody loses the pageserver", COLUMNS, rows)
    trouble = measure_trouble(max(given.backends), given.rounds)
    outcome.table("trouble", "everybody loses it, and more goes wrong", TROUBLE, trouble)
    outcome.save(given.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
