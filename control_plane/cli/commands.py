"""The group that all commands belong to; the module of a command is imported when it is used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Final

import click

from compute_common.cli.run_group import run_group
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
"""By name: module in this package, and the command in it."""


class _Commands(click.Group):
    """Imports each command when it is asked for, so that `run` starts without the others."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return their names, in the order of the help."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command *cmd_name*, None where there is none."""
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
    return run_group(cli, words, program=PROGRAM, completion_variable=COMPLETION_VARIABLE)
