"""The group that all commands belong to; each is imported when it is used."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Final

import click

from compute_common.cli.exit_codes import EXIT_FAILED, EXIT_USAGE, CommandError, print_error
from compute_common.errors import ComputeError, SettingsError
from control_plane.cli.exit_codes import COMPLETION_VARIABLE, EPILOG, PROGRAM

COMMANDS: Final[Mapping[str, tuple[str, str]]] = {
    "run": ("run", "run"),
    "status": ("reads", "status"),
    "computes": ("reads", "computes"),
    "show": ("reads", "show"),
    "put": ("changes", "put"),
    "set": ("changes", "set_settings"),
    "delete": ("changes", "delete"),
    "nodes": ("reads", "nodes"),
    "verdicts": ("reads", "verdicts"),
    "history": ("reads", "history"),
    "reconcile": ("changes", "reconcile"),
}
"""By name: module and function."""


class _Commands(click.Group):
    """The commands: `run` needs neither the others nor what they import."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return their names, in the order of the help."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return one, None where there is none of this name."""
        if cmd_name not in COMMANDS:
            return None
        module, name = COMMANDS[cmd_name]
        command = getattr(import_module(f"control_plane.cli.{module}"), name)
        assert isinstance(command, click.Command)  # noqa: S101 -- narrows the type
        return command


@click.group(cls=_Commands, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="compute-refresh", prog_name=PROGRAM)
def cli() -> None:
    """Tell computes where their storage is, and the storage controller what they see."""


def run_command(words: Sequence[str]) -> int:
    """Run one of the commands; return its exit status."""
    if not words and COMPLETION_VARIABLE not in os.environ:
        click.echo(cli.get_help(click.Context(cli, info_name=PROGRAM)))
        return EXIT_USAGE
    try:
        result = cli.main(args=list(words), prog_name=PROGRAM, standalone_mode=False)
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
