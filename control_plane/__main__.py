"""Entry point: `compute_control_plane COMMAND`.

Exit status: 0 done, 1 failed or a negative outcome, 2 usage, or settings with which it cannot
start, 3 no control plane there, 4 not permitted.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Final

import click

from compute_common.cli.exit_codes import (
    EXIT_FAILED,
    EXIT_USAGE,
    CommandError,
    print_error,
)
from compute_common.errors import ComputeError, SettingsError
from control_plane.cli import changes, reads
from control_plane.cli.client import EPILOG
from control_plane.cli.run import run

PROGRAM: Final = "compute_control_plane"
COMPLETION_VARIABLE: Final = "_COMPUTE_CONTROL_PLANE_COMPLETE"
"""Set by a shell that asks for completions."""


@click.group(epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="compute-refresh", prog_name=PROGRAM)
def cli() -> None:
    """Tell computes where their storage is, and the storage controller what they see."""


for _command in (
    run,
    reads.status,
    reads.computes,
    reads.show,
    changes.put,
    changes.set_settings,
    changes.delete,
    reads.nodes,
    reads.verdicts,
    reads.history,
    changes.reconcile,
):
    cli.add_command(_command)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; return its exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words and COMPLETION_VARIABLE not in os.environ:
        click.echo(cli.get_help(click.Context(cli, info_name=PROGRAM)))
        return EXIT_USAGE
    try:
        result = cli.main(args=words, prog_name=PROGRAM, standalone_mode=False)
    except click.ClickException as error:
        message = error.format_message().rstrip(".")
        context = getattr(error, "ctx", None)
        path = context.command_path if context is not None else PROGRAM
        print_error(PROGRAM, message[:1].lower() + message[1:], f"See {path} --help.")
        return EXIT_USAGE
    except (click.Abort, KeyboardInterrupt):
        return EXIT_FAILED
    except ComputeError as error:
        print_error(PROGRAM, str(error), error.hint)
        return exit_code(error)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the pipe is closed
        return EXIT_FAILED
    return result if isinstance(result, int) else 0


def exit_code(error: ComputeError) -> int:
    """Return the exit status of a command that failed with *error*."""
    if isinstance(error, CommandError):
        return error.exit_code
    return EXIT_USAGE if isinstance(error, SettingsError) else EXIT_FAILED


if __name__ == "__main__":
    sys.exit(main())
