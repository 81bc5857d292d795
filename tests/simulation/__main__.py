"""Run seeds: ``python -m tests.simulation SEED``, or ``--seeds 1000 --from N``.

One seed is told step by step; of many, only those that fail are printed. Exit status 1 if one does.
"""

from __future__ import annotations

import argparse
import gc
import logging
import multiprocessing
import os
import sys
import time
from multiprocessing.queues import SimpleQueue

from tests.simulation.world import World

MANY = 10**9
"""More seeds than anybody waits for."""


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
    parser.add_argument("--seeds", type=int, help="how many (default 1000; no end with --seconds)")
    parser.add_argument("--from", type=int, default=1, dest="first", help="the first of them")
    parser.add_argument("--seconds", type=float, help="stop after so long, however many are done")
    parser.add_argument("--failures", type=int, default=10, help="stop after so many failures")
    parser.add_argument("--processes", type=int, default=os.cpu_count(), help="at a time")
    arguments = parser.parse_args()
    logging.disable(logging.CRITICAL)
    if arguments.seed is not None:
        failure = run(arguments.seed, tell=True)
        print(failure or "well")  # noqa: T201 (what the command says)
        return 1 if failure else 0
    return _many(arguments)


def _many(arguments: argparse.Namespace) -> int:
    begun = time.monotonic()
    end = begun + arguments.seconds if arguments.seconds else None
    seeds = arguments.seeds or (MANY if end else 1000)
    told: SimpleQueue[tuple[int, str] | None] = multiprocessing.SimpleQueue()
    workers = [
        multiprocessing.Process(
            target=_work,
            args=(range(arguments.first + number, arguments.first + seeds, arguments.processes),),
            kwargs={"end": end, "told": told},
            daemon=True,
        )
        for number in range(arguments.processes)
    ]
    for worker in workers:
        worker.start()
    busy, done, failed = len(workers), 0, 0
    while busy and failed < arguments.failures:
        answer = told.get()
        if answer is None:
            busy -= 1
            continue
        done += 1
        if answer[1]:
            failed += 1
            print(f"seed {answer[0]}: {answer[1]}", flush=True)  # noqa: T201 (what the command says)
    for worker in workers:
        worker.terminate()
    rate = done / (time.monotonic() - begun) * 60
    print(  # noqa: T201 (what the command says)
        f"{done} seeds from {arguments.first} on, {failed} failed, {rate:.0f} a minute"
    )
    return 1 if failed else 0


def _work(seeds: range, *, end: float | None, told: SimpleQueue[tuple[int, str] | None]) -> None:
    """Run *seeds* in a process of their own; tell of each, and None at the end."""
    gc.freeze()  # what has been imported stays
    for seed in seeds:
        if end is not None and time.monotonic() >= end:
            break
        try:
            told.put((seed, run(seed)))
        except BaseException as error:  # a broken simulation must not look like a long one
            told.put((seed, f"the simulation is broken: {error!r}"))
            raise
    told.put(None)


if __name__ == "__main__":
    sys.exit(main())
