"""What a fleet does to its control plane when a pageserver dies, on a virtual clock.

    python -m bench.fleet [--computes 10000] [--capacity 2000] [--plot FILE] [--json FILE]

Thousands of computes run the daemon's real core and the extension's real trigger policy in one
process (`fleet_compute`); a third of them lose their pageserver within 50 ms, which is the worst
case: all are busy, and all see a reset. The control plane serves 2,000 requests a second and turns
away whoever would wait longer than a second. The same seed gives the same figures on any machine.

Fleets above `WHOLE` are simulated in part: a tenth of the computes with a tenth of the capacity,
say, and all counts times ten.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from bench.fleet_control import Scenario
from bench.fleet_plot import plot
from bench.fleet_run import Measured, run
from bench.outcome import FOLDER, Outcome, add_json_argument

PLOT: Final = FOLDER / "fleet.svg"
WHOLE: Final = 10_000
"""The largest fleet that is simulated compute by compute."""
GROWTH: Final = (100, 1_000, 10_000, 100_000)
VARIANTS: Final[dict[str, dict[str, Any]]] = {
    "poll": {"long_poll": False},
    "long poll": {},
    "poll, no jitter": {"long_poll": False, "jitter": False},
    "long poll, no jitter": {"jitter": False},
    "long poll, first outage": {"known": False},
    "published before": {"published_after_s": 0.0},
    "published before, no jitter": {"published_after_s": 0.0, "jitter": False},
}
COLUMNS: Final = (
    "healed after (s)", "50 %", "99 %", "100 %", "requests", "each", "busiest 0.1 s", "busiest 1 s",
    "turned away", "longest queue",
)  # fmt: skip


def scenarios(base: Scenario) -> dict[str, Scenario]:
    """Return the scenarios of a fleet like *base*, and of smaller and larger ones."""
    told = {name: replace(base, **changes) for name, changes in VARIANTS.items()}
    for computes in GROWTH:
        for name in ("poll", "long poll"):
            sample = max(1, computes // WHOLE)
            told[f"{computes:,}, {name}"] = replace(told[name], computes=computes, sample=sample)
    return told


def tell(told: Iterable[Scenario], processes: int) -> Iterator[Measured]:
    """Run scenarios, each in a process of its own; yield in their order."""
    with multiprocessing.Pool(processes, maxtasksperchild=1) as pool:
        yield from pool.imap(run, told, chunksize=1)


def row(name: str, measured: Measured) -> tuple[object, ...]:
    """Return a row of the table; times are seconds after the publication."""
    late = measured.scenario.published_after_s
    times = [None if at is None else at - late for at in measured.healed_s.values()]
    return (
        name, *times, measured.requests, measured.requests / measured.affected, measured.peak,
        measured.peak_second, measured.turned_away, measured.longest_wait_s,
    )  # fmt: skip


def main() -> None:
    """Run all scenarios; print, save and draw them."""
    parser = argparse.ArgumentParser(prog="python -m bench.fleet", description=__doc__)
    parser.add_argument("--computes", type=int, default=WHOLE, help="in the first table")
    parser.add_argument("--capacity", type=float, default=2000.0, help="requests a second served")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--plot", type=Path, default=PLOT, help="default: %(default)s")
    add_json_argument(parser, "fleet")
    arguments = parser.parse_args()
    begun = time.monotonic()
    base = Scenario(
        computes=arguments.computes,
        capacity=arguments.capacity,
        seed=arguments.seed,
        sample=max(1, arguments.computes // WHOLE),
    )
    told = scenarios(base)
    distinct = {repr(scenario): scenario for scenario in told.values()}
    found = dict(zip(distinct, tell(distinct.values(), arguments.processes), strict=True))
    measured = {name: found[repr(scenario)] for name, scenario in told.items()}
    report(measured, arguments.json)
    plot(measured, arguments.plot)
    took = time.monotonic() - begun
    print(f"{len(distinct)} scenarios in {took:.0f} s; plot: {arguments.plot}")


def report(measured: dict[str, Measured], file: Path) -> None:
    """Print the two tables, and save them with what the plot shows."""
    outcome = Outcome("fleet")
    scenario = next(iter(measured.values())).scenario
    titles = {
        "variants": f"{scenario.computes:,} computes, a third loses its pageserver; published "
        f"{scenario.published_after_s:g} s later; {scenario.capacity:,.0f} requests/s served",
        "growth": "the same, growing",
    }
    for key, title in titles.items():
        names = [name for name in measured if (name in VARIANTS) == (key == "variants")]
        outcome.table(key, title, COLUMNS, [row(name, measured[name]) for name in names])
    outcome.keep("scenarios", {name: one.to_json() for name, one in measured.items()})
    outcome.save(file)


if __name__ == "__main__":
    main()
