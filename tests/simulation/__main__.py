"""Run seeds: ``python -m tests.simulation SEED``, or ``--seeds 1000 --from N``.

One seed is told step by step; of many, only those that fail are printed. Exit status 1 if one does,
or a process dies.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import time
from typing import NamedTuple, Protocol

from devstack.virtual_loop import START
from tests.simulation.processes import ProcessDiedError, Processes
from tests.simulation.world import World

MANY = 10**9
"""More seeds than anybody waits for."""


class Outcome(NamedTuple):
    """What has become of one seed."""

    failure: str
    """Empty if nothing failed."""
    seconds: float = 0.0
    """Simulated."""
    checked: int = 0
    """How often something was held against an invariant."""


class Run(Protocol):
    """Runs one seed, and tells it step by step where that is asked for."""

    def __call__(self, seed: int, *, tell: bool = False) -> Outcome:
        """Return what has become of it."""


def run(seed: int, *, tell: bool = False) -> Outcome:
    """Run one seed."""
    world = World(seed, note=print if tell else None)
    failure = ""
    try:
        world.run()
    except AssertionError as error:
        failure = str(error)
    return Outcome(failure, world.loop.now - START, world.invariants.checked)


def tell_seeds(run: Run, package: str, description: str | None) -> int:
    """Run what the command line asks for, with *run* for each seed; return the exit status."""
    parser = argparse.ArgumentParser(prog=f"python -m {package}", description=description)
    parser.add_argument("seed", type=int, nargs="?", help="tell the story of this one")
    parser.add_argument("--seeds", type=int, help="how many (default 1000; no end with --seconds)")
    parser.add_argument("--from", type=int, default=1, dest="first", help="the first of them")
    parser.add_argument("--seconds", type=float, help="stop after so long, however many are done")
    parser.add_argument("--failures", type=int, default=10, help="stop after so many failures")
    parser.add_argument("--processes", type=int, default=os.cpu_count(), help="at a time")
    arguments = parser.parse_args()
    logging.disable(logging.CRITICAL)
    if arguments.seed is not None:
        failure = run(arguments.seed, tell=True).failure
        print(failure or "well")  # noqa: T201 (what the command says)
        return 1 if failure else 0
    return _many(run, arguments)


def _many(run: Run, arguments: argparse.Namespace) -> int:
    begun, first = time.monotonic(), arguments.first
    end = begun + arguments.seconds if arguments.seconds else None
    seeds = range(first, first + (arguments.seeds or (MANY if end else 1000)))
    processes = Processes(run, Outcome, seeds, count=arguments.processes, end=end)
    done, failed, died, seconds, checked = 0, 0, "", 0.0, 0
    try:
        for seed, story in processes.told():
            done += 1
            seconds += story.seconds
            checked += story.checked
            if story.failure:
                failed += 1
                print(f"seed {seed}: {story.failure}", flush=True)  # noqa: T201 (what it says)
            if failed >= arguments.failures:
                break
    except ProcessDiedError as error:
        died = f"; {error}"
    finally:
        processes.stop()
    rate = done / (time.monotonic() - begun) * 60
    print(  # noqa: T201 (what the command says)
        f"{done} seeds from {first} on, {failed} failed, {seconds / 3600:.1f} simulated hours, "
        f"{checked} checks of invariants, {rate:.0f} seeds a minute{died}"
    )
    return 1 if failed or died else 0


if __name__ == "__main__":
    sys.exit(tell_seeds(run, "tests.simulation", __doc__))
