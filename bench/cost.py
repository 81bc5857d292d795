"""What the library costs while all is well: each number beside what it is to be compared with.

Everything is measured in one run, the two sides taking turns, so that their ratio counts and the
machine does not. Rates suffer from whatever else runs; CPU time hardly does.

- `pgbench -S` on two servers that differ in the library alone. The *noise* is what the same
  server's neighbouring runs differ by; a cost below it is not seen.
- pages through `neon_refresh.read_page`, beside a libpq client that sends prepared requests to the
  same pageserver and looks at no answer. CPU time is that of the backend and of the client.
- instructions of the core for one page request, counted by callgrind, beside one page copied.

    .venv/bin/python -m bench.cost [--pairs 12] [--selects 15000] [--pages 1000] [--json FILE]

What a tool is missing for is said and left out.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.comparison import COLUMNS, Row, Sample, cells, compare, compare_samples, take_turns
from bench.outcome import Outcome, add_json_argument
from bench.pages import measure_pages
from bench.unavailable import UnavailableError
from devstack.compute import TENANT, TIMELINE
from devstack.installation import binary
from devstack.launch import Pageserver, start_pageserver
from devstack.postgres import Postgres, Template
from devstack.wait import wait_until

ROOT = Path(__file__).resolve().parent.parent
SCALE = 1
TICKS = os.sysconf("SC_CLK_TCK")
TIMEOUT_S = 120
TABLE = "pgbench_accounts"
CALLGRIND = ("valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null")
COMPILER = ("gcc", "-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", f"-I{ROOT / 'pg_hook'}")
COUNTS = (1000, 3000)
STEPS = ("shard", "encode", "decode")


def pgbench(server: Postgres, *options: str) -> float:
    """Run pgbench on *server*; return its transactions a second (0 where it made none)."""
    if not Path(binary("pgbench")).exists():
        raise UnavailableError("this PostgreSQL has no pgbench")
    done = subprocess.run(
        [binary("pgbench"), *options, "-p", str(server.port), server.dbname],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=True,
        cwd="/",
        env={**os.environ, "PGHOST": server.host, "PGUSER": server.user},
    )
    rates = re.findall(r"^tps = ([0-9.]+)", done.stdout, re.MULTILINE)
    return float(rates[-1]) if rates else 0.0


def children_cpu_s(pid: int) -> float:
    """CPU time of the children that *pid* has seen the end of."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[13]) + int(fields[14])) / TICKS


def selects(server: Postgres, count: int) -> Sample:
    """Run *count* selects over one connection."""
    before = children_cpu_s(server.pid)
    rate = pgbench(server, "-S", "-n", "-M", "prepared", "-t", str(count))
    alive = b"select count(*) from pg_stat_activity where application_name = 'pgbench'"
    with server.connect() as session:
        wait_until(
            "the end of pgbench's session", lambda: session.execute(alive).fetchone() == (0,)
        )
    wait_until("its CPU time", lambda: children_cpu_s(server.pid) > before)
    return rate, (children_cpu_s(server.pid) - before) / count * 1e6


def measure_selects(loaded: Postgres, plain: Postgres, pairs: int, count: int) -> list[Row]:
    """Compare selects with and without the library."""
    for server in (loaded, plain):
        selects(server, count)
    found = take_turns(pairs, lambda: selects(loaded, count), lambda: selects(plain, count))
    return compare_samples("pgbench -S", *found)


def callgrind(driver: Path, step: str) -> float:
    """Return the instructions of one *step* of the driver."""
    totals = []
    for count in COUNTS:
        done = subprocess.run(
            [*CALLGRIND, str(driver), step, str(count)],
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=True,
        )
        found = re.search(r"Collected : (\d+)", done.stderr)
        if found is None:
            raise RuntimeError(f"callgrind counted nothing:\n{done.stderr}")
        totals.append(int(found[1]))
    return (totals[1] - totals[0]) / (COUNTS[1] - COUNTS[0])


def measure_instructions() -> list[Row]:
    """Compare the core's work for one page request with one page copied."""
    if shutil.which("valgrind") is None:
        raise UnavailableError("there is no valgrind")
    archive = ROOT / "build" / "pg_hook" / "libpg_hook.a"
    if not archive.exists():
        raise UnavailableError("the core is not built: make build")
    with tempfile.TemporaryDirectory() as scratch:
        driver = Path(scratch) / "core_cost"
        subprocess.run(
            [*COMPILER, "-o", driver, ROOT / "bench" / "core_cost.c", archive, "-lcurl"],
            check=True,
            timeout=TIMEOUT_S,
        )
        empty = callgrind(driver, "nothing")
        steps = {step: round(callgrind(driver, step) - empty) for step in STEPS}
        copy = callgrind(driver, "copy") - empty
    return [{**compare("instructions a page", [sum(steps.values())], [copy]), "steps": steps}]


@contextmanager
def servers() -> Iterator[tuple[Postgres, Postgres, Pageserver]]:
    """A server with the library and a pageserver, one without, both with pgbench's tables."""
    template = Template()
    try:
        with (
            Postgres(template, name="loaded") as loaded,
            Postgres(template, name="plain") as plain,
            start_pageserver(
                pgdata=loaded.data, tenant=TENANT, timeline=TIMELINE, log_dir=loaded.folder
            ) as pageserver,
        ):
            loaded.configure(
                {
                    "shared_preload_libraries": "neon_refresh",
                    "neon.tenant_id": TENANT,
                    "neon.timeline_id": TIMELINE,
                    "neon.pageserver_connstring": pageserver.url,
                }
            )
            for server in (loaded, plain):
                server.start()
                pgbench(server, "-i", "-q", "-s", str(SCALE))
                server.query("checkpoint")
            loaded.query("create extension neon_refresh")
            yield loaded, plain, pageserver
    finally:
        template.remove()


def measure(pairs: int, count: int, pages: int) -> list[Row]:
    """Measure all of it; a row says why it has no numbers."""
    rows: list[Row] = []

    def add(what: str, step: Callable[[], list[Row]]) -> None:
        try:
            rows.extend(step())
        except UnavailableError as error:
            rows.append({"what": what, "skipped": str(error)})

    def on_servers() -> list[Row]:
        with servers() as (loaded, plain, pageserver):
            return [
                *measure_selects(loaded, plain, pairs, count),
                *measure_pages(loaded, pageserver.url, TABLE, pages, pairs),
            ]

    add("pgbench -S and pages", on_servers)
    add("instructions a page", measure_instructions)
    return rows


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.cost", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--pairs", type=int, default=12, help="rounds of each comparison")
    parser.add_argument("--selects", type=int, default=15000, help="of one pgbench run")
    parser.add_argument("--pages", type=int, default=1000, help="of one round")
    add_json_argument(parser, "cost")
    arguments = parser.parse_args()
    outcome = Outcome("cost")
    rows = measure(arguments.pairs, arguments.selects, arguments.pages)
    outcome.table("cost", "what the library costs while all is well", COLUMNS, map(cells, rows))
    outcome.keep("rows", {row["what"]: row for row in rows})
    outcome.save(arguments.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
