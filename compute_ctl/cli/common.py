"""What the commands for people share: exit codes, complaints, JSON."""

from __future__ import annotations

import json
from typing import Any, Final

import click

from compute_ctl import log

PROGRAM: Final = "compute_ctl"
COMPLETION_VARIABLE: Final = "_COMPUTE_CTL_COMPLETE"
"""By which a shell asks for the words that could come next."""
EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2
EXIT_UNREACHABLE: Final = 3
EXIT_NOT_PERMITTED: Final = 4
WATCH_S: Final = 1.0
"""Between two looks of `--watch`."""
EPILOG: Final = (
    "Exit status: 0 done; 1 failed or a negative outcome; 2 usage; 3 no daemon there; "
    "4 not permitted. Flags without a command mean `run`."
)

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def complain(message: str, hint: str | None = None) -> None:
    """Say on stderr what is wrong and what to do."""
    click.echo(f"{PROGRAM}: error: {log.escape(message[:1].lower() + message[1:])}", err=True)
    if hint:
        click.echo(f"hint: {log.escape(hint)}", err=True)


def warn(message: str) -> None:
    """Say on stderr what may be wrong."""
    click.echo(f"{PROGRAM}: warning: {log.escape(message)}", err=True)


def print_json(value: Any, *, compact: bool = False) -> None:
    """Print *value*, on one line where *compact*."""
    click.echo(json.dumps(value, indent=None if compact else 2, ensure_ascii=False))
