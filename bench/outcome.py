"""Where a benchmark's results go: tables for people, one JSON file for the plots.

The file is `build/bench/NAME.json` unless `--json FILE` says otherwise. It holds the machine, the
tables as they were printed, the goals, and the single measurements.
"""

import argparse
import json
import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.figures import Goal
from devstack.installation import pg_config

FOLDER = Path(__file__).resolve().parent.parent / "build" / "bench"
WIDTH = 130
"""Where the output is no terminal."""


def add_json_argument(parser: argparse.ArgumentParser, name: str) -> None:
    """Let the command line say where the results go."""
    parser.add_argument(
        "--json",
        type=Path,
        default=FOLDER / f"{name}.json",
        metavar="FILE",
        help="write the results here (default: %(default)s)",
    )


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "cores": len(os.sched_getaffinity(0)),
        "load_1min": round(os.getloadavg()[0], 2),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "postgres": pg_config("version"),
    }


class Outcome:
    """The results of one benchmark, printed as they are added and saved at the end."""

    def __init__(self, name: str) -> None:
        self._found: dict[str, Any] = {"bench": name, "machine": machine()}
        self._console = Console(width=None if os.isatty(1) else WIDTH, highlight=False)

    def table(
        self, key: str, title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]
    ) -> None:
        """Print one table; the JSON holds each row by its column names."""
        shown = Table(title=title, title_justify="left")
        kept = []
        for number, column in enumerate(columns):
            shown.add_column(column, justify="right" if number else "left")
        for row in rows:
            shown.add_row(*(_cell(value) for value in row))
            kept.append(dict(zip(columns, row, strict=True)))
        self._console.print(shown)
        self._found[key] = kept

    def goals(self, goals: Sequence[Goal]) -> None:
        """Print what was wanted and what was measured."""
        self.table(
            "goals",
            "goals",
            ("goal", "wanted", "measured", "met"),
            [
                (
                    goal.what,
                    f"{goal.relation} {_cell(goal.limit)} {goal.unit}",
                    f"{_cell(goal.measured)} {goal.unit}",
                    "yes" if goal.met else "NO",
                )
                for goal in goals
            ],
        )
        self._found["goals"] = [goal.as_json() for goal in goals]

    def note(self, text: str) -> None:
        """Print a line, and keep it."""
        self._console.print(text)
        self._found.setdefault("notes", []).append(text)

    def keep(self, key: str, value: Mapping[str, Any]) -> None:
        """Keep what is not printed."""
        self._found[key] = value

    def save(self, file: Path) -> None:
        """Write the JSON file."""
        file.parent.mkdir(parents=True, exist_ok=True)
        temporary = file.with_name(file.name + ".tmp")
        temporary.write_text(json.dumps(self._found, indent=1) + "\n")
        temporary.replace(file)


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:,.3g}"
    return f"{value:,}" if isinstance(value, int) else str(value)
