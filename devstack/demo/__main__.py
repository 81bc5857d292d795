"""The demo: `python -m devstack.demo [--json]`.

Exit status 0 only if every outage ended, no query failed, and the second was the shorter one.
"""

import argparse
import json
import sys
import time

from devstack.demo.installation import ROWS, raised
from devstack.demo.story import STEPS, Result, tell_story


class Teller:
    """Prints the story to stderr, with the seconds since it began."""

    def __init__(self) -> None:
        self._begun = time.monotonic()

    def __call__(self, text: str) -> None:
        """Print one line."""
        print(f"{time.monotonic() - self._begun:8.3f} s  {text}", file=sys.stderr, flush=True)


def table(results: list[Result]) -> str:
    """Return *results* for people: a step a line, a result a column."""
    head = ("milliseconds since the pageserver died", *(result.name for result in results))
    rows = [head]
    for step, meaning in STEPS.items():
        times = (result.phases.times()[step] for result in results)
        rows.append((meaning, *("-" if it is None else f"{it:,.0f}" for it in times)))
    rows.append(("queries failed", *(str(len(result.failures)) for result in results)))
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if number else cell.ljust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )


def main() -> int:
    """Play the story."""
    parser = argparse.ArgumentParser(prog="python -m devstack.demo", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    tell = Teller()
    tell("starting a storage controller, three pageservers, a control plane, postgres, compute_ctl")
    with raised() as installation:
        tell(f"all are up; {ROWS:,} rows are read from pageserver {installation.node_id}")
        results = tell_story(installation, tell)
    if arguments.json:
        print(json.dumps({"outages": [result.as_json() for result in results]}))
    else:
        print("\n" + table(results))
    for result in results:
        for failure in result.failures:
            tell(f"{result.name}: {failure}")
    observed, acted = results
    well = not (observed.failures or acted.failures) and acted.phases.page < observed.phases.page
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
