"""How heavy and how fast the control plane is, with 10,000 computes.

The real process with a store on disk; computes are raw sockets in this process, each with a long
poll that is held (`held_polls`). A third of them belong to one tenant, which is moved: timed is
from the storage controller's hook until each of those computes has its new document, and until the
hook is answered 200, since all have reported. Then conditional requests and reports are counted by
the processor time they cost, which other work on the machine changes little.

    .venv/bin/python -m bench.control_plane [--computes 10000] [--moves 5] [--json FILE]

Besides, the processor time until 99 % of them are answered: on a busy machine it says more.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import itertools
import os
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench.control_plane_fleet import StorageStandin, hook, seed
from bench.figures import Goal, median, quantile
from bench.held_polls import Answers, Fleet, request
from bench.outcome import Outcome, add_json_argument
from control_plane.decisions.report_limits import REPORTS_AT_ONCE
from devstack.installation import free_port
from devstack.process import Child, memory_mb
from devstack.wait import wait_until

TENANTS = 3
START_TIMEOUT_S = 30.0
CONNECT_S = 120.0
MOVE_S = 30.0
CONNECTIONS = 64
REPORTS_EACH = REPORTS_AT_ONCE // 2
"""Of one compute, at most: the control plane refuses more in a second, and it has just reported."""
MOVES = (
    "move", "p50 ms", "p99 ms", "CPU to p99 ms", "last ms", "hook", "answered ms", "CPU s",
    "turned away",
)  # fmt: skip
RATES = ("requests over 64 connections", "number", "a second", "CPU ms each", "a second and core")


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How much is measured."""

    computes: int
    moves: int
    starts: int
    requests: int


def cpu_s(pid: int) -> float:
    """Processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class ControlPlane:
    """The process."""

    def __init__(self, folder: Path, controller: str) -> None:
        self.port = free_port()
        argv: list[str | Path] = [sys.executable, "-m", "control_plane", "run"]
        argv += ["--listen", f"127.0.0.1:{self.port}", "--store", folder / "state.db"]
        argv += ["--storage-controller", controller, "--log-level", "warning"]
        self.log = folder / "control_plane.log"
        begun = time.perf_counter()
        self._child = Child(argv, stderr=self.log, ready=False)
        self.pid = self._child.pid
        wait_until("readyz", lambda: self.answers("/readyz"), START_TIMEOUT_S)
        self.start_ms = (time.perf_counter() - begun) * 1000
        self.start_cpu_ms = cpu_s(self.pid) * 1000

    def answers(self, path: str) -> bool:
        """Whether it answers with 200 there. Raises RuntimeError where it does not run."""
        if self._child.poll() is not None:
            raise RuntimeError(f"it ended: {self.log.read_text()[-1000:]}")
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", path)
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()

    def stop(self) -> None:
        """End it in order."""
        self._child.stop()


@contextmanager
def running(folder: Path, controller: str) -> Iterator[ControlPlane]:
    """Run it."""
    process = ControlPlane(folder, controller)
    try:
        yield process
    finally:
        process.stop()


async def move_often(
    fleet: Fleet, plane: ControlPlane, storage: StorageStandin, moves: int
) -> list[tuple[object, ...]]:
    """Move one tenant to and fro; return a row for each move."""
    tenant = storage.tenants[0]
    moving = [one for number, one in enumerate(fleet.computes) if number % TENANTS == 0]
    rows: list[tuple[object, ...]] = []
    for _ in range(moves):
        node = storage.move(tenant)
        before, reported, turned = cpu_s(plane.pid), fleet.reported, fleet.turned_away
        fleet.expect(len(moving))
        fleet.note_at(len(moving) // 100, partial(cpu_s, plane.pid))
        begun = time.perf_counter()
        hooked = asyncio.create_task(hook(plane.port, tenant, node))
        await fleet.wait(MOVE_S)
        times = [(one.news_at - begun) * 1000 for one in moving]
        status = await hooked
        answered = (time.perf_counter() - begun) * 1000
        if status == 200 and fleet.reported - reported < len(moving):
            raise RuntimeError("the hook was answered before all have reported")
        used = cpu_s(plane.pid) - before
        half, most, last = (quantile(times, share) for share in (0.5, 0.99, 1.0))
        most_cpu, turned = (fleet.noted - before) * 1000, fleet.turned_away - turned
        name = f"{len(moving):,} computes"
        rows.append((name, half, most, most_cpu, last, status, answered, used, turned))
    return rows


async def ask_often(
    name: str, plane: ControlPlane, requests: list[bytes], number: int
) -> tuple[object, ...]:
    """Send *number* requests over 64 connections, each after an answer; return a row.

    Each of *requests* is sent in turn, so that none comes much more often than another.
    """
    each = number // CONNECTIONS
    turn = itertools.cycle(requests)
    loop = asyncio.get_running_loop()
    before, begun = cpu_s(plane.pid), time.perf_counter()

    async def one() -> None:
        _, connection = await loop.create_connection(Answers, "127.0.0.1", plane.port)
        sent, done = 0, loop.create_future()

        def answered(status: int, head: bytes, body: bytes) -> None:
            nonlocal sent
            del head
            if status not in (200, 304):
                done.set_exception(RuntimeError(f"HTTP status {status}: {body!r}"))
            elif sent == each:
                done.set_result(None)
            else:
                sent += 1
                connection.transport.write(next(turn))

        connection.on_answer = answered
        answered(200, b"", b"")
        await done
        connection.transport.abort()

    await asyncio.gather(*(one() for _ in range(CONNECTIONS)))
    took, used, count = time.perf_counter() - begun, cpu_s(plane.pid) - before, each * CONNECTIONS
    return (name, count, count / took, used / count * 1000, count / used)


async def measure_fleet(
    outcome: Outcome, plane: ControlPlane, storage: StorageStandin, ids: list[str], sizes: Sizes
) -> list[Goal]:
    """Hold all computes, move a tenant, ask and report."""
    fleet = Fleet(plane.port, ids)
    bare = memory_mb(plane.pid)
    begun = time.perf_counter()
    await fleet.connect(CONNECT_S)
    took = time.perf_counter() - begun
    held = memory_mb(plane.pid)
    outcome.note(
        f"{len(ids):,} computes connected and got their document in {took:.1f} s; "
        f"resident {bare:.0f} MB before, {held:.0f} MB after; {fleet.turned_away} turned away"
    )
    rows = await move_often(fleet, plane, storage, sizes.moves)
    outcome.table("moves", "a tenant moves: from the hook to the new document", MOVES, rows)
    moved = memory_mb(plane.pid)
    gets = [request("GET", f"{it.path}/spec", If_None_Match=it.etag) for it in fleet.computes]
    reports = [it.last_report for it in fleet.computes]
    allowed = REPORTS_EACH * len(reports)
    rates = [
        await ask_often("conditional GET, 304", plane, gets, sizes.requests),
        await ask_often("report", plane, reports, min(sizes.requests, allowed)),
    ]
    outcome.table("rates", f"beside {len(ids):,} held polls", RATES, rates)
    fleet.close()
    p99 = median([float(str(row[2])) for row in rows])
    return [
        Goal(what="memory with all polls held", relation="<=", limit=400, measured=held, unit="MB"),
        Goal(what="memory after the moves", relation="<=", limit=400, measured=moved, unit="MB"),
        Goal(what="answered after a move, p99", relation="<=", limit=1000, measured=p99),
        Goal(what="conditional GETs", relation=">=", limit=2000,
             measured=float(str(rates[0][4])), unit="a second and core"),
        Goal(what="a report", relation="<=", limit=0.5,
             measured=float(str(rates[1][3])), unit="ms of CPU"),
    ]  # fmt: skip


def measure(outcome: Outcome, sizes: Sizes) -> None:
    """Measure and print."""
    ids = [f"compute-{number:05d}" for number in range(sizes.computes)]
    with tempfile.TemporaryDirectory() as name, StorageStandin(TENANTS) as storage:
        folder = Path(name)
        empty = []
        for number in range(sizes.starts):
            fresh = folder / str(number)
            fresh.mkdir()
            with running(fresh, storage.url) as plane:
                empty.append(plane.start_ms)
        asyncio.run(seed(folder / "state.db", ids, storage.tenants))
        with running(folder, storage.url) as plane:
            first = plane.start_ms
            begun = time.perf_counter()
            for one in ids[:TENANTS]:
                path = f"/compute/api/v2/computes/{one}/spec"
                wait_until("published", partial(plane.answers, path), START_TIMEOUT_S)
            published = (time.perf_counter() - begun) * 1000
        with running(folder, storage.url) as plane:
            outcome.note(
                f"ready after {median(empty):.0f} ms with an empty store, {first:.0f} ms with "
                f"{sizes.computes:,} texts to publish, which takes {published:.0f} ms more, "
                f"{plane.start_ms:.0f} ms ({plane.start_cpu_ms:.0f} ms of CPU) with all published"
            )
            goals = asyncio.run(measure_fleet(outcome, plane, storage, ids, sizes))
        said = plane.log.read_text()
        if said:
            outcome.note(f"its log:\n{said[-2000:]}")
    start = Goal(what="ready, empty store", relation="<=", limit=500, measured=median(empty))
    full = Goal(what="ready, full store", relation="<=", limit=500, measured=plane.start_ms)
    outcome.goals([start, full, *goals])


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.control_plane", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--requests", type=int, default=20_000, metavar="N")
    parser.add_argument("--computes", type=int, default=10_000, metavar="N")
    parser.add_argument("--moves", type=int, default=5, metavar="N")
    parser.add_argument("--starts", type=int, default=3, metavar="N")
    add_json_argument(parser, "control_plane")
    given = parser.parse_args()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard != resource.RLIM_INFINITY and hard < given.computes + 1000:
        parser.error(f"{hard} open files are too few (soft limit {soft}): ulimit -n")
    outcome = Outcome("control_plane")
    sizes = Sizes(
        computes=given.computes, moves=given.moves, starts=given.starts, requests=given.requests
    )
    measure(outcome, sizes)
    outcome.save(given.json)


if __name__ == "__main__":
    main()
