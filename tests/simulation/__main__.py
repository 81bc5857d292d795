"""Run seeds: ``python -m tests.simulation SEED``, or ``--seeds 1000 --from N``.

One seed is told step by step; of many, only those that fail are printed. Exit status 1 if one does.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time

from tests.simulation.world import World


def run(seed: int, *, tell: bool = False) -> str:
    """Run one seed; return why it failed, '' if it did not."""
    world = World(seed, note=print if tell else None)
    try:
        world.run()
    except AssertionError as error:
        return str(error)
    return ""


def main() -> int:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("seed", type=int, nargs="?", help="tell the story of this one")
    parser.add_argument("--seeds", type=int, default=1000, help="how many")
    parser.add_argument("--from", type=int, default=1, dest="first", help="the first of them")
    parser.add_argument("--seconds", type=float, help="stop after so long, however many are done")
    parser.add_argument("--failures", type=int, default=10, help="stop after so many failures")
    arguments = parser.parse_args()
    logging.disable(logging.CRITICAL)
    if arguments.seed is not None:
        failure = run(arguments.seed, tell=True)
        print(failure or "well")  # noqa: T201
        return 1 if failure else 0
    return _many(arguments)


def _many(arguments: argparse.Namespace) -> int:
    begun, done, failed = time.monotonic(), 0, 0
    for seed in range(arguments.first, arguments.first + arguments.seeds):
        failure = run(seed)
        done += 1
        if failure:
            failed += 1
            print(f"seed {seed}: {failure}", flush=True)  # noqa: T201
        if failed >= arguments.failures:
            break
        if arguments.seconds and time.monotonic() - begun > arguments.seconds:
            break
    took = time.monotonic() - begun
    print(f"{done} seeds, {failed} failed, {done / took * 60:.0f} a minute")  # noqa: T201
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
