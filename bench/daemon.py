"""How heavy and how fast the daemon is.

A real Postgres, compute_ctl attached to it, and refresh requests over 64 kept-open connections.
The same client then asks a bare aiohttp server, so that the rates can be read on any machine. A
changed setting is timed from the order until a session of Postgres sees it, at rest and under that
load; and with Patroni on the same server in the same run, where it is asked for.

    .venv/bin/python -m bench.daemon [--requests 10000] [--changes 20] [--patroni] [--json FILE]

`--patroni` installs Patroni into `build/bench/patroni` first.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bench import patroni
from bench.changes import SETTING, Publisher, by_hand_after_ms, seen_after_ms
from bench.figures import Goal, median, summary
from bench.load import Load, load
from bench.outcome import Outcome, add_json_argument
from bench.unavailable import UnavailableError
from devstack.compute import Compute
from devstack.daemon import Daemon
from devstack.installation import free_port
from devstack.postgres import Template
from devstack.process import Child, memory_mb
from devstack.wait import wait_until

START_TIMEOUT_S = 20.0
LOADS = 3
LOAD_WITHOUT_END = 10_000_000
SERVERS = ("server", "starts in ms", "MB", "requests", "a second", "p50 ms", "p99 ms", "worst ms")
CHANGES = ("a changed setting", "rounds", "median ms", "p99 ms", "worst ms", "x floor")
FLOOR = "floor: a file and SIGHUP by hand, seen"
SEEN = "compute_ctl, seen"
IMPORTS = "its imports alone"
NO_PATRONI = "not asked for: --patroni, or make bench PATRONI=1"


def start_to_ready_ms(daemon: Daemon) -> float:
    """Start the daemon; how long until /readyz says yes."""
    begin = time.perf_counter()
    daemon.start()
    wait_until("readyz", lambda: daemon.call("GET", "/readyz")[0] == 200, START_TIMEOUT_S)
    return (time.perf_counter() - begin) * 1000


def imports_ms() -> float:
    """Import what the daemon consists of, in an interpreter that does nothing else."""
    begin = time.perf_counter()
    subprocess.run(
        [sys.executable, "-c", "import compute_ctl.app.main"], check=True, timeout=START_TIMEOUT_S
    )
    return (time.perf_counter() - begin) * 1000


def start_often(compute: Compute, starts: int) -> list[float]:
    """Start the daemon some times; it runs in the end."""
    found = []
    for number in range(starts):
        if number:
            compute.daemon.stop()
        found.append(start_to_ready_ms(compute.daemon))
        compute.wait_in_sync()
    return found


def row(name: str, starts_ms: float | None, pid: int, found: Load) -> tuple[object, ...]:
    """Return one row of the table of servers."""
    latencies = (found.latency_ms(share) for share in (0.5, 0.99, 1.0))
    return (name, starts_ms, memory_mb(pid), found.requests, found.rate, *latencies)


def measure_servers(compute: Compute, requests: int, starts: int) -> list[tuple[object, ...]]:
    """Put the daemon and the bare server under the same load."""
    ready = start_often(compute, starts)
    imports = [imports_ms() for _ in range(starts)]
    rows: list[tuple[object, ...]] = [
        ("compute_ctl, at rest", median(ready), memory_mb(compute.daemon.pid), *[None] * 5),
        (IMPORTS, median(imports), *[None] * 6),
    ]
    for _ in range(LOADS):
        found = asyncio.run(load(compute.port, requests))
        rows.append(row("compute_ctl, loaded", None, compute.daemon.pid, found))
    compute.daemon.wait_status("rest", lambda status: not status["refresh"]["pending"])
    port, begun = free_port(), time.perf_counter()
    with Child(
        [sys.executable, "-m", "bench.load", "--bare", str(port)],
        stderr=Path(os.devnull),
        ready=False,
    ) as child:
        wait_until("the bare server", lambda: listens(port), START_TIMEOUT_S)
        started = (time.perf_counter() - begun) * 1000
        found = asyncio.run(load(port, requests))
        rows.append(row("bare aiohttp, loaded", started, child.pid, found))
    return rows


def listens(port: int) -> bool:
    """Whether somebody listens on *port*."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def under_load(port: int) -> Iterator[None]:
    """Have another process send requests all the time."""
    argv = [sys.executable, "-m", "bench.load", "--at", str(port)]
    argv += ["--requests", str(LOAD_WITHOUT_END)]
    with Child(argv, stderr=Path(os.devnull), ready=False) as child:
        yield
        child.kill()


def measure_changes(compute: Compute, publisher: Publisher, rounds: int) -> dict[str, list[float]]:
    """Time our changes, at rest and under load."""
    server, found = compute.postgres, {}
    found[FLOOR] = by_hand_after_ms(server, rounds)
    found[SEEN] = seen_after_ms(server, publisher.order, rounds, before=publisher.rest)
    found["compute_ctl, one after the other, seen"] = seen_after_ms(server, publisher.order, rounds)
    found["compute_ctl, proven"] = publisher.prove_often(rounds)
    with under_load(compute.port):
        found["compute_ctl under load, seen"] = seen_after_ms(server, publisher.order, rounds)
    return found


def measure_patroni(compute: Compute, rounds: int) -> list[float]:
    """Time Patroni's changes on the same server. Raises UnavailableError."""
    with patroni.running(compute.postgres) as rival:
        return seen_after_ms(compute.postgres, lambda value: rival.patch({SETTING: value}), rounds)


def goals(servers: list[tuple[object, ...]], seen: dict[str, list[float]]) -> list[Goal]:
    """Return what was wanted and what was measured: times as ratios within this run."""
    cells = [dict(zip(SERVERS, found, strict=True)) for found in servers]
    starts = {cell["server"]: float(str(cell["starts in ms"])) for cell in cells[:2]}
    start = starts["compute_ctl, at rest"] / starts[IMPORTS]
    change = median(seen[SEEN]) / median(seen[FLOOR])
    loaded = [cell for cell in cells if cell["server"] == "compute_ctl, loaded"]
    limits = (
        ("ready, beside its own imports", "<=", 1.5, start, "x"),
        ("a changed setting, beside a file and SIGHUP by hand", "<=", 10, change, "x"),
        ("memory after all requests", "<=", 55, loaded[-1]["MB"], "MB"),
        ("requests", ">=", 1000, loaded[-1]["a second"], "a second"),
    )
    return [
        Goal(what=what, relation=relation, limit=limit, measured=float(str(value)), unit=unit)
        for what, relation, limit, value, unit in limits
    ]


def measure(
    outcome: Outcome, *, requests: int, starts: int, changes: int, with_patroni: bool
) -> None:
    """Measure and print."""
    with ExitStack() as stack:
        template = Template()
        stack.callback(template.remove)
        compute = stack.enter_context(Compute(template, name="bench"))
        pageserver = compute.pageserver("a")
        compute.publish(pageserver)
        try:
            servers = measure_servers(compute, requests, starts)
            outcome.table("servers", "refresh requests over 64 connections", SERVERS, servers)
            seen = measure_changes(compute, Publisher(compute, pageserver), changes)
            fetches = compute.daemon.metric("compute_ctl_refresh_attempts_total")
            outcome.note(f"fetches for all that: {fetches:.0f}")
        finally:
            compute.daemon.stop()
        skipped = NO_PATRONI
        if with_patroni:
            try:
                seen["Patroni, PATCH until seen"] = measure_patroni(compute, changes)
                skipped = ""
            except UnavailableError as error:
                skipped = str(error)
        if skipped:
            outcome.note(f"Patroni skipped: {skipped}")
        floor = median(seen[FLOOR])
        rows = [
            (name, *summary(times).values(), median(times) / floor) for name, times in seen.items()
        ]
        outcome.table("changes", "from the order until a session sees it", CHANGES, rows)
        outcome.goals(goals(servers, seen))
        outcome.keep("samples", seen)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.daemon", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--requests", type=int, default=10_000, metavar="N")
    parser.add_argument("--starts", type=int, default=5, metavar="N")
    parser.add_argument("--changes", type=int, default=20, metavar="N")
    parser.add_argument("--patroni", action="store_true", help="compare with it")
    add_json_argument(parser, "daemon")
    given = parser.parse_args()
    outcome = Outcome("daemon")
    measure(
        outcome,
        requests=given.requests,
        starts=given.starts,
        changes=given.changes,
        with_patroni=given.patroni,
    )
    outcome.save(given.json)


if __name__ == "__main__":
    main()
