"""What the commands for people share: options, warnings, JSON."""

from __future__ import annotations

import json
from typing import Any, Final

import click

from compute_ctl import log
from compute_ctl.cli.ending import PROGRAM

WATCH_S: Final = 1.0
"""Between two looks of `--watch`."""
EPILOG: Final = (
    "Exit status: 0 done; 1 failed or a negative outcome; 2 usage; 3 no daemon there "
    "(explain: no server); "
    "4 not permitted. Flags without a command mean `run`."
)

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def warn(message: str) -> None:
    """Say on stderr what may be wrong."""
    click.echo(f"{PROGRAM}: warning: {log.escape(message)}", err=True)


def print_json(value: Any, *, compact: bool = False) -> None:
    """Print *value*, on one line where *compact*."""
    click.echo(json.dumps(value, indent=None if compact else 2, ensure_ascii=False))
