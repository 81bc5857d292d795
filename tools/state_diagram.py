"""The state machine of compute_ctl as a Mermaid diagram, made from its table.

Without arguments prints it; `--check` says whether docs/architecture.md holds it, `--write` puts it
there. Events that leave a status as it is are not drawn. An event that leads from all live statuses
but one (or none) to the same place is drawn once, from the frame around them.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

from compute_ctl.decisions.transitions import TERMINATING, TRANSITIONS, Event, Status

DOCUMENT = Path(__file__).resolve().parent.parent / "docs/architecture.md"
BEGIN = "<!-- made by tools/state_diagram.py -->\n"
END = "<!-- end -->\n"
LIVE = "live"

Table = Mapping[Status, Mapping[Event, Status]]


def shared(table: Table) -> dict[Event, Status]:
    """Return the events that lead from all live statuses, one excepted, to one place."""
    live = [status for status in Status if status not in TERMINATING]
    found: dict[Event, Status] = {}
    for event in Event:
        places = [table[status].get(event) for status in live]
        for place in set(places) - {None}:
            if place is not None and places.count(place) >= len(live) - 1:
                found[event] = place
    return found


def arrows(table: Table, outer: Mapping[Event, Status]) -> Iterator[tuple[Status, Status, str]]:
    """Yield (from, to, events) for all that is not drawn from the frame."""
    events: dict[tuple[Status, Status], list[str]] = defaultdict(list)
    for status, row in table.items():
        for event, place in row.items():
            drawn = status not in TERMINATING and outer.get(event) is place
            if place is not status and not drawn:
                events[status, place].append(event.value)
    for (status, place), names in events.items():
        yield status, place, ", ".join(names)


def diagram(table: Table = TRANSITIONS) -> str:
    """Return the diagram with its fences."""
    outer = shared(table)
    lines = ["```mermaid", "stateDiagram-v2", f"    [*] --> {Status.EMPTY.value}"]
    lines.append(f'    state "any of these" as {LIVE} {{')
    inside: list[str] = []
    outside: list[str] = []
    for status, place, names in arrows(table, outer):
        within = status not in TERMINATING and place not in TERMINATING
        (inside if within else outside).append(f"{status.value} --> {place.value}: {names}")
    lines += [f"        {line}" for line in inside] + ["    }"]
    entered: dict[Status, list[str]] = defaultdict(list)
    for event, place in outer.items():
        entered[place].append(event.value)
    lines += [f"    {LIVE} --> {place.value}: {', '.join(n)}" for place, n in entered.items()]
    lines += [f"    {line}" for line in outside]
    return "\n".join([*lines, f"    {Status.TERMINATED.value} --> [*]", "```", ""])


def replaced(text: str, drawn: str) -> str:
    """Return the document *text* with *drawn* between the marks.

    Raises:
        ValueError: the marks are not there.
    """
    head, begin, rest = text.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"no lines {BEGIN.strip()} and {END.strip()}")
    return f"{head}{BEGIN}{drawn}{END}{tail}"


def main(arguments: list[str] | None = None) -> int:
    """Print, check or write the diagram; return the exit status."""
    parser = argparse.ArgumentParser(prog="tools/state_diagram.py", description=__doc__)
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--check", action="store_true", help="compare with docs/architecture.md")
    what.add_argument("--write", action="store_true", help="write it there")
    given = parser.parse_args(arguments)
    if not given.check and not given.write:
        sys.stdout.write(diagram())
        return 0
    old = DOCUMENT.read_text()
    new = replaced(old, diagram())
    if given.write:
        DOCUMENT.write_text(new)
    elif new != old:
        sys.stdout.write(f"{DOCUMENT.name}: the diagram is stale: run {parser.prog} --write\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
