"""Break the product in many ways, one after the other: ``python -m tests.mutations [NAME...]``.

The tests that must notice run on the whole product first and must pass; then each breakage must
make them fail. Exit status 1 if one survives. `--list` names them.
"""

import argparse
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from queue import SimpleQueue

from tests.mutations.catalog import named
from tests.mutations.mutation import MovedError, Mutation, mutated
from tests.mutations.run import PASSED, ROOT, Copy, Ran, copy

AT_A_TIME = 2


def main() -> int:
    """Do what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutations", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these")
    parser.add_argument("--list", action="store_true", help="name them and do nothing")
    parser.add_argument("--jobs", type=int, default=AT_A_TIME, help="how many at a time")
    parser.add_argument(
        "--patience", type=float, default=1.0, help="so many times the usual time for the tests"
    )
    arguments = parser.parse_args()
    try:
        chosen = named(arguments.names)
        for mutation in chosen:
            mutated(mutation, ROOT)
    except (ValueError, MovedError) as error:
        _say(str(error))
        return 2
    if arguments.list:
        for mutation in chosen:
            _say(f"{mutation.name:<36} {mutation.file}")
        return 0
    return _judge(chosen, arguments.jobs, arguments.patience)


def _judge(chosen: list[Mutation], jobs: int, patience: float) -> int:
    copies: SimpleQueue[Copy] = SimpleQueue()
    with ExitStack() as stack:
        for _ in range(jobs):
            copies.put(stack.enter_context(copy(patience=patience)))

        def whole(tests: tuple[str, ...]) -> Ran:
            mine = copies.get()
            try:
                ran = mine.test(tests)  # a busy machine may fail it once
                return ran if ran.status == PASSED else mine.test(tests)
            finally:
                copies.put(mine)

        def broken(mutation: Mutation) -> Ran:
            mine = copies.get()
            try:
                with mine.broken(mutation):
                    return mine.test(mutation.tests)
            finally:
                copies.put(mine)

        pool = stack.enter_context(ThreadPoolExecutor(jobs))
        selections = list(dict.fromkeys(mutation.tests for mutation in chosen))
        for tests, ran in zip(selections, pool.map(whole, selections), strict=True):
            if ran.status != PASSED:
                _say(f"{' '.join(tests)} fails on the whole product:\n{ran.output}")
                return 1
        _say(f"{len(selections)} selections of tests pass on the whole product")
        survivors = 0
        for mutation, ran in zip(chosen, pool.map(broken, chosen), strict=True):
            survivors += not ran.caught
            _say(f"{'caught' if ran.caught else 'SURVIVED':<9} {mutation.name:<36} {_took(ran)}")
            if not ran.caught:
                _say(ran.output)
    _say(f"{len(chosen) - survivors} of {len(chosen)} caught")
    return 1 if survivors else 0


def _took(ran: Ran) -> str:
    return f"{ran.seconds:5.1f} s"


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 (what the command says)


if __name__ == "__main__":
    sys.exit(main())
