"""Break everything: ``python -m tests.chaos [--seed N] [--seconds S] [--round K] [--json]``.

Exit status 1 if a page was wrong, a query hung, an error was none that may be, or something was not
healed; then the commands that play the failed rounds again are printed. A seed decides what is
broken and when; what the machine makes of it, it does not.
"""

import argparse
import json
import random
import signal
import sys

from devstack.postgres import Template
from tests.chaos.run import run
from tests.conftest import pytest_configure as use_memory


def main() -> int:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, help="decides the schedule (default: any)")
    parser.add_argument("--seconds", type=float, help="go on for so long (default: 60)")
    parser.add_argument("--round", type=int, action="append", help="only this one; may be repeated")
    parser.add_argument("--round-seconds", type=float, default=4.0, help="of trouble, in a round")
    parser.add_argument("--faults", type=int, default=8, help="in a round")
    parser.add_argument("--json", action="store_true", help="the figures as JSON")
    parser.add_argument("--quiet", action="store_true", help="the figures only")
    arguments = parser.parse_args()
    use_memory()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what we started ends too
    seed = arguments.seed if arguments.seed is not None else random.randrange(1_000_000)
    seconds = arguments.seconds
    template = Template()
    try:
        figures = run(
            template,
            seed=seed,
            rounds=arguments.round,
            seconds=seconds if seconds or arguments.round else 60.0,
            round_seconds=arguments.round_seconds,
            faults=arguments.faults,
            note=(lambda _: None) if arguments.quiet else _note,
        )
    finally:
        template.remove()
    text = json.dumps(figures.as_dict(), indent=1) if arguments.json else figures.as_text()
    print(text)  # noqa: T201 (what the command says)
    return 1 if figures.failed else 0


def _note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201 (what the command says)


if __name__ == "__main__":
    sys.exit(main())
