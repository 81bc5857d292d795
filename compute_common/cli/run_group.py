"""Runs a command line with click, and turns what goes wrong into a message and an exit status."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import click

from compute_common.cli.exit_codes import EXIT_FAILED, EXIT_USAGE, fail, print_error
from compute_common.errors import ComputeError


def run_group(
    group: click.Group, words: Sequence[str], *, program: str, completion_variable: str
) -> int:
    """Run the command line *words* with the commands of *group*; return the exit status.

    *completion_variable*: the environment variable by which a shell asks for completions.
    """
    if not words and completion_variable not in os.environ:
        click.echo(group.get_help(click.Context(group, info_name=program)))
        return EXIT_USAGE
    try:
        result = group.main(args=list(words), prog_name=program, standalone_mode=False)
    except click.ClickException as error:
        message = error.format_message().rstrip(".")
        context = getattr(error, "ctx", None)
        path = context.command_path if context is not None else program
        print_error(program, message[:1].lower() + message[1:], f"See {path} --help.")
        return EXIT_USAGE
    except (click.Abort, KeyboardInterrupt):
        return EXIT_FAILED
    except ComputeError as error:
        return fail(program, error)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the pipe is closed
        return EXIT_FAILED
    return result if isinstance(result, int) else 0
