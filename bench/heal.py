"""How long a heal takes, beside the floor of this machine and beside the reference's policy.

All in one run and in turns, since only ratios travel:

- *cases*: a pageserver ceases to serve in one of several ways while the control plane names the
  next one already; from then to the first page, in a session that reads;
- *late*: the control plane learns of the next one a while after; from then to the first page,
  where it is asked again and again (poll), and where it holds the request open (long poll);
- the *floor*: `bench.floor`;
- the *reference policy*: `bench.reference`, a few rounds, since each takes ten seconds.

    .venv/bin/python -m bench.heal [--rounds 200] [--reference-rounds 2] [--json FILE]
"""

import argparse
import sys
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from time import sleep

from bench import healing, reference
from bench.figures import Goal, median, quantile, summary
from bench.floor import Floor
from bench.healing import HealingCompute
from bench.outcome import Outcome, add_json_argument
from devstack.compute import Compute
from devstack.fault_proxy.client import FaultyControlPlane
from devstack.postgres import Template

SUSPECT_AFTER_MS = 200.0
LATE_S = (0.2, 0.5, 1.0)
CASES = (
    healing.KILLED,
    healing.REFUSED_FRESH,
    healing.RESET,
    healing.SILENT,
    healing.WRONG,
)
EIGHT = "one of eight shards"
POLL, LONG_POLL = "published later, poll", "published later, long poll"
REFERENCE_LATE_S = 0.5
FRESH = "no stream open"
COLUMNS = ("case", "rounds", "median ms", "p99 ms", "worst ms", "x floor")

Times = dict[str, list[float]]


class Computes:
    """All computes of the benchmark; use it as a context manager."""

    def __init__(self) -> None:
        self._stack = ExitStack()

    def __enter__(self) -> "Computes":
        template = Template()
        self._stack.callback(template.remove)
        folder = self._stack.enter_context(TemporaryDirectory(prefix="bench-"))
        plane = self._stack.enter_context(FaultyControlPlane(Path(folder)))
        suspect = {"neon_refresh.response_suspect_after": f"{SUSPECT_AFTER_MS:g}ms"}
        polls, holds, many, empty = (
            self._stack.enter_context(
                Compute(template, name=name, control_plane=plane, settings=settings)
            )
            for name, settings in (("poll", suspect), ("hold", {}), ("many", {}), ("floor", {}))
        )
        for compute in (polls, holds, many):
            compute.faults.strike("no_reports")  # else it would know of a move before the trouble
        polls.faults.strike("no_hold")
        self.floor = self._stack.enter_context(Floor(empty))
        self.one, self.held, self.many = (
            HealingCompute(polls),
            HealingCompute(holds),
            HealingCompute(many, shards=8),
        )
        self._empty = empty
        self._dead = empty.pageserver("dead")
        self._dead.kill()
        self._healthy = empty.pageserver("healthy")
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def reference(self, rounds: int, *, stream_open: bool, late_s: float) -> list[reference.Course]:
        """Let the reference's policy heal."""
        return reference.run(
            self._empty,
            self._dead,
            self._healthy,
            rounds,
            stream_open=stream_open,
            late_s=late_s,
        )


def heal_at_once(computes: Computes, rounds: int) -> tuple[Times, Times]:
    """Return the times of each case, and of each step of the floor."""
    cases, steps = defaultdict(list), defaultdict(list)
    for _ in range(rounds):
        for step, taken in computes.floor.round().items():
            steps[step].append(taken)
        for trouble in CASES:
            cases[trouble.name].append(computes.one.heal(trouble))
        cases[EIGHT].append(computes.many.heal(healing.CUT))
    return cases, steps


def heal_late(computes: Computes, rounds: int, delays: Sequence[float]) -> Times:
    """Return the times since the publication; two computes wait together, and heal in turns."""
    late = defaultdict(list)
    waiting = [(POLL, computes.one), (LONG_POLL, computes.held)]
    for number in range(rounds):
        for _, ill in waiting:
            ill.fall_ill()
        sleep(delays[number % len(delays)])
        for name, ill in waiting:
            late[name].append(ill.heal_late())
        waiting.reverse()
    return late


def run_reference(computes: Computes, rounds: int) -> dict[str, list[reference.Course]]:
    """Return the courses of outages under the reference's policy."""
    if not rounds:
        return {}
    return {
        FRESH: computes.reference(rounds, stream_open=False, late_s=0),
        "stream open": computes.reference(rounds, stream_open=True, late_s=0),
        f"stream open, published {REFERENCE_LATE_S:g} s later": computes.reference(
            1, stream_open=True, late_s=REFERENCE_LATE_S
        ),
    }


def rows(times: Times, floor: float) -> list[tuple[object, ...]]:
    """Return a row of the table for each case."""
    found = []
    for name, taken in times.items():
        row = summary(taken)
        found.append((name, *row.values(), row["median_ms"] / floor))
    return found


def goals(cases: Times, late: Times, floor: float, reference_asks: list[float]) -> list[Goal]:
    """Return what was wanted and what was measured: in floors of this run."""

    def in_floors(what: str, measured: float, limit: float) -> Goal:
        return Goal(
            what=f"{what}, in floors",
            relation="<=",
            limit=limit,
            measured=measured / floor,
            unit="x",
        )

    found = []
    for name, taken in cases.items():
        found += [
            in_floors(f"{name}: median", median(taken), 2),
            in_floors(f"{name}: p99", quantile(taken, 0.99), 10),
        ]
    if reference_asks:
        ours = median(cases[healing.REFUSED_FRESH.name])
        found.append(
            Goal(
                what="reference policy until it first asks, beside our heal (no stream open)",
                relation=">=",
                limit=500,
                measured=median(reference_asks) / ours,
                unit="x",
            )
        )
    for name, limit in ((POLL, 40), (LONG_POLL, 8)):
        found.append(in_floors(f"{name}: median", median(late[name]), limit))
    return found


def report(
    outcome: Outcome,
    cases: Times,
    steps: Times,
    late: Times,
    courses: dict[str, list[reference.Course]],
) -> None:
    """Print everything."""
    sums = [sum(taken) for taken in zip(*steps.values(), strict=True)]
    floor = median(sums)
    without_deadline = dict(cases)
    silent = f"silent, beyond its deadline of {SUSPECT_AFTER_MS:g} ms"
    without_deadline[silent] = [taken - SUSPECT_AFTER_MS for taken in cases["silent"]]
    del without_deadline["silent"]
    outcome.table("floor", "floor of this machine", COLUMNS, rows({**steps, "floor": sums}, floor))
    outcome.table(
        "cases",
        "trouble until the first page, news published",
        COLUMNS,
        rows({**cases, silent: without_deadline[silent]}, floor),
    )
    outcome.table("late", "publication until the first page", COLUMNS, rows(late, floor))
    outcome.table(
        "reference",
        "reference policy, run for real",
        ("case", "rounds", "first asks after, ms", "heals after, ms"),
        [
            (
                name,
                len(found),
                median([it.asked for it in found]),
                median([it.healed for it in found]),
            )
            for name, found in courses.items()
        ],
    )
    asks = [course.asked for course in courses.get(FRESH, [])]
    outcome.goals(goals(without_deadline, late, floor, asks))
    outcome.keep("samples", {**steps, "floor": sums, **cases, **late})


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.heal",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rounds", type=int, default=200, help="of each case")
    parser.add_argument("--reference-rounds", type=int, default=2)
    parser.add_argument(
        "--late",
        type=float,
        nargs="+",
        default=LATE_S,
        metavar="SECONDS",
        help="from the death to the publication, in turns",
    )
    add_json_argument(parser, "heal")
    given = parser.parse_args()
    outcome = Outcome("heal")
    with Computes() as computes, ThreadPoolExecutor(1) as beside:
        cases, steps = heal_at_once(computes, given.rounds)
        courses = beside.submit(run_reference, computes, given.reference_rounds)
        late = heal_late(computes, given.rounds, given.late)
        report(outcome, cases, steps, late, courses.result())
    outcome.save(given.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
