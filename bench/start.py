"""How long a compute takes from nothing, and what a large base backup costs in memory.

compute_ctl starts on an empty data directory: document, base backup from a pageserver's stand-in,
Postgres. What the transfer takes, and what Postgres takes when it is started by hand on the same
tree, is subtracted: the rest is the daemon's own. The memory is the peak of the daemon with a
backup of some megabytes, and with one that a large file is added to.

    .venv/bin/python -m bench.start [--rounds 5] [--megabytes 1024] [--json FILE]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.daemon import imports_ms
from bench.figures import Goal, median, summary
from bench.outcome import Outcome, add_json_argument
from devstack.fresh_compute import FreshCompute, StoredCluster
from devstack.installation import binary, give_away, run_as
from devstack.postgres import Template, ready_pid
from devstack.process import memory_mb
from devstack.wait import wait_until

WITHIN_S = 120.0
PIECE = 64 * 1024
LARGE_FILE = "base/1/999999"
COLUMNS = ("from nothing to accepting connections", "rounds", "median ms", "p99 ms", "worst ms")
MEMORY = ("base backup", "unpacked MB", "over the wire MB", "seconds", "peak of the daemon MB")


@dataclass(frozen=True, kw_only=True)
class Start:
    """One start from nothing; milliseconds."""

    total: float
    transfer: float
    postgres: float
    peak_mb: float
    wire_mb: float

    @property
    def own(self) -> float:
        """What the daemon adds."""
        return self.total - self.transfer - self.postgres


def timed_ms(what: str, begin: Callable[[], object], data: Path) -> float:
    """Begin, and wait until the server accepts connections."""
    began = time.perf_counter()
    begin()
    wait_until(what, lambda: ready_pid(data) is not None, WITHIN_S)
    return (time.perf_counter() - began) * 1000


def postgres_ms(compute: FreshCompute) -> float:
    """Start the server by hand on the tree that the daemon has left."""
    servers = []

    def begin() -> None:
        command = [binary("postgres"), "-D", str(compute.data)]
        quiet = subprocess.DEVNULL
        servers.append(subprocess.Popen(command, stdout=quiet, stderr=quiet, cwd="/", **run_as()))

    took = timed_ms("postgres by hand", begin, compute.data)
    servers[0].terminate()
    servers[0].wait(WITHIN_S)
    return took


def start(stored: StoredCluster) -> Start:
    """Start one compute from nothing."""
    with FreshCompute(stored) as compute:
        compute.publish(compute.pageserver("a"))
        total = timed_ms("the compute", compute.daemon.spawn, compute.data)
        cluster = compute.wait_running()["cluster"]
        peak = memory_mb(compute.daemon.pid, peak=True)
        compute.daemon.stop()
        return Start(
            total=total,
            transfer=cluster["basebackup_ms"] + cluster["pageserver_connect_micros"] / 1000,
            postgres=postgres_ms(compute),
            peak_mb=peak,
            wire_mb=cluster["bytes"] / 2**20,
        )


def add_large_file(data: Path, megabytes: int) -> None:
    """Add a file to a stored cluster, a quarter of which does not compress."""
    path = data / LARGE_FILE
    with path.open("wb") as file:
        for _ in range(megabytes * 2**20 // PIECE):
            file.write(os.urandom(PIECE // 4) + bytes(PIECE - PIECE // 4))
    give_away(path)


def measure(outcome: Outcome, *, rounds: int, megabytes: int) -> None:
    """Measure and print."""
    template = Template()
    stored = StoredCluster(template)
    try:
        starts = [start(stored) for _ in range(rounds)]
        add_large_file(stored.data, megabytes)
        large = start(stored)
    finally:
        stored.remove()
        template.remove()
    samples = {
        "all": [one.total for one in starts],
        "of it the transfer": [one.transfer for one in starts],
        "of it Postgres, as by hand": [one.postgres for one in starts],
        "the rest: compute_ctl": [one.own for one in starts],
        "of that its imports, measured alone": [imports_ms() for _ in range(rounds)],
    }
    rows = [(name, *summary(times).values()) for name, times in samples.items()]
    outcome.table("start", "a compute from nothing", COLUMNS, rows)
    small = median([one.peak_mb for one in starts])
    outcome.table(
        "memory",
        "memory while unpacking",
        MEMORY,
        [
            ("small", "", starts[0].wire_mb, median(samples["of it the transfer"]) / 1000, small),
            ("large", megabytes, large.wire_mb, large.transfer / 1000, large.peak_mb),
        ],
    )
    own, more = median(samples["the rest: compute_ctl"]), large.peak_mb - small
    outcome.goals(
        [
            Goal(what="start beside transfer and Postgres", relation="<=", limit=600, measured=own),
            Goal(
                what="memory for the large one", relation="<=", limit=10, measured=more, unit="MB"
            ),
        ]
    )
    outcome.keep("samples", samples)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.start", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--rounds", type=int, default=5, metavar="N")
    parser.add_argument("--megabytes", type=int, default=1024, metavar="N")
    add_json_argument(parser, "start")
    given = parser.parse_args()
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # each start would compile every module
    outcome = Outcome("start")
    measure(outcome, rounds=given.rounds, megabytes=given.megabytes)
    outcome.save(given.json)


if __name__ == "__main__":
    main()
