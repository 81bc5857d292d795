"""Entry point: `compute_control_plane COMMAND`.

Exit status: 0 done, 1 failed, 2 usage, or settings with which it cannot start.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Final

import click

from compute_common import log
from compute_common.errors import ComputeError, SettingsError
from control_plane.cli.run import run

PROGRAM: Final = "compute_control_plane"


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="compute-refresh", prog_name=PROGRAM)
def cli() -> None:
    """Tell computes where their storage is, and the storage controller what they see."""


cli.add_command(run)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; return its exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        result = cli.main(args=words, prog_name=PROGRAM, standalone_mode=False)
    except click.ClickException as error:
        message = error.format_message().rstrip(".")
        context = getattr(error, "ctx", None)
        path = context.command_path if context is not None else PROGRAM
        _print_error(message[:1].lower() + message[1:], f"See {path} --help.")
        return 2
    except (click.Abort, KeyboardInterrupt):
        return 1
    except ComputeError as error:
        _print_error(str(error), error.hint)
        return 2 if isinstance(error, SettingsError) else 1
    return result if isinstance(result, int) else 0


def _print_error(message: str, hint: str | None) -> None:
    sys.stderr.write(f"{PROGRAM}: error: {log.escape(message)}\n")
    if hint:
        sys.stderr.write(f"hint: {log.escape(hint)}\n")


if __name__ == "__main__":
    sys.exit(main())
