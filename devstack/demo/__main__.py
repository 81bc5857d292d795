"""The demo: `python -m devstack.demo [--json] [--rounds N]`.

Exit status 0 only if every scenario healed without a failed query.
"""

import argparse
import json
import statistics
import sys
import time

from devstack.demo.compute import ROWS, raised
from devstack.demo.scenarios import SCENARIOS, Result, play


class Teller:
    """Prints the story to stderr, with the seconds since it began."""

    def __init__(self) -> None:
        self._begun = time.monotonic()

    def __call__(self, text: str) -> None:
        """Print one line."""
        print(f"{time.monotonic() - self._begun:8.3f} s  {text}", file=sys.stderr, flush=True)


def table(results: list[Result]) -> str:
    """Return *results* for people."""
    head = ("scenario", "healed", "heal ms", "failed", "pages", "requests", "fetches")
    rows = [
        (
            result.name,
            "yes" if result.healed else "NO",
            "-" if result.heal_ms is None else f"{result.heal_ms:.1f}",
            str(result.queries_failed),
            str(result.pages_read),
            str(result.refresh_requests),
            str(result.config_fetches),
        )
        for result in results
    ]
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    lines = [
        "  ".join(
            cell.ljust(width) if number == 0 else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in (head, *rows)
    ]
    return "\n".join(lines)


def distribution(results: list[Result]) -> str:
    """Return the spread of the heal times of many rounds, in one line."""
    times = sorted(result.heal_ms for result in results if result.heal_ms is not None)
    if len(times) < 2:
        return ""
    p99 = times[min(len(times) - 1, round(0.99 * (len(times) - 1)))]
    return (
        f"heal time of {len(times)} rounds: median {statistics.median(times):.1f} ms, "
        f"p99 {p99:.1f} ms, worst {times[-1]:.1f} ms"
    )


def main() -> int:
    """Play the story."""
    parser = argparse.ArgumentParser(prog="python -m devstack.demo", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--rounds", type=int, default=1, help='play "moved" this often')
    arguments = parser.parse_args()
    tell = Teller()
    tell("starting postgres, compute_ctl, a control plane and a pageserver")
    with raised() as demo:
        tell(f"postgres is up, {demo.pages} pages with {ROWS} rows are read from the pageserver")
        moved = [play(demo, SCENARIOS[0], tell) for _ in range(max(1, arguments.rounds))]
        others = [play(demo, scenario, tell) for scenario in SCENARIOS[1:]]
    results = moved + others
    if arguments.json:
        print(json.dumps({"scenarios": [result.as_json() for result in results]}))
    else:
        shown = results if arguments.rounds <= 5 else [moved[-1], *others]
        print("\n" + table(shown))
        if arguments.rounds > 1:
            print("\n" + distribution(moved))
    for result in results:
        for failure in result.failures:
            tell(f"{result.name}: {failure}")
    return 0 if all(result.healed and not result.queries_failed for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
