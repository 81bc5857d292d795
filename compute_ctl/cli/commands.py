"""The commands: those that ask the daemon, and the group that all of them belong to."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Final

import click
import msgspec
from click.shell_completion import CompletionItem

from compute_common.cli.exit_codes import EXIT_FAILED
from compute_common.cli.output import WATCH_S, as_json, print_json
from compute_common.cli.run_group import run_group
from compute_ctl import __version__
from compute_ctl.cli import diff, explain, files, publish
from compute_ctl.cli.asking import (
    DEFAULT_WAIT,
    ask_daemon,
    find,
    invocation_of,
    read_body,
    request_refresh,
    seconds,
    target_options,
)
from compute_ctl.cli.client import DaemonResponse, Target
from compute_ctl.cli.exit_codes import COMPLETION_VARIABLE, EPILOG, PROGRAM
from compute_ctl.cli.local import document_parts, read_document
from compute_ctl.cli.run_flags import flags
from compute_ctl.decisions.status import StatusBody
from compute_ctl.decisions.transitions import Status

ROLLBACK_S: Final = 330.0
"""More than the daemon's own deadline for a rollback."""


def run_command(words: Sequence[str]) -> int:
    """Run one of the commands; return its exit status."""
    return run_group(cli, words, program=PROGRAM, completion_variable=COMPLETION_VARIABLE)


@click.group(epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name=PROGRAM)
def cli() -> None:
    """Keep a Postgres on the configuration it should run with."""


class _Run(click.Command):
    """Lists the daemon's flags for help and completion; `cli.run` parses them, without click."""

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Return the flags that start with *incomplete*."""
        return [
            CompletionItem(name, help=text) for name, text in flags() if name.startswith(incomplete)
        ]


@cli.command(
    cls=_Run,
    add_help_option=False,
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
)
def run() -> None:
    """Run the daemon (see `run --help`)."""
    raise click.UsageError("run cannot be used here")  # __main__ handles "run" as first word


@cli.command(epilog=EPILOG, short_help="Show what the daemon does and knows.")
@target_options
@as_json
@click.option("--watch", is_flag=True, help="Show it again every second, until interrupted.")
def status(as_json: bool, watch: bool, **where: Any) -> int:
    """Show what the daemon does and knows; exit status 1 if it has failed."""
    target = find(**where)
    while True:
        answer = ask_daemon(
            target, "GET", "/status", required=("status", "config", "refresh", "postgres")
        )
        if as_json:
            print_json(answer.body, compact=watch)
        else:
            _show_status(answer, target, clear=watch)
        if not watch:
            return EXIT_FAILED if answer.body["status"] == Status.FAILED else 0
        time.sleep(WATCH_S)


def _show_status(answer: DaemonResponse, target: Target, *, clear: bool) -> None:
    from compute_common.cli.tables import show
    from compute_ctl.cli import tables

    invocation = invocation_of(answer, target)
    if clear:
        click.clear()
    body = read_body(answer, StatusBody)
    show(tables.status(body, address=answer.address, invocation=invocation))


@cli.command(epilog=EPILOG)
@target_options
@as_json
@click.option(
    "--wait",
    is_flag=False,
    flag_value=DEFAULT_WAIT,
    metavar="[SECONDS]",
    help=f"Wait for the outcome ({DEFAULT_WAIT} s unless told).",
)
@click.option("--force", is_flag=True, help="Try a quarantined document again (unix socket only).")
def refresh(as_json: bool, wait: str | None, force: bool, **where: Any) -> int:
    """Ask the daemon to look at the configuration again."""
    wait_s = None if wait is None else seconds(wait)
    return request_refresh(find(**where), wait_s=wait_s, force=force, as_json=as_json)


@cli.command(epilog=EPILOG)
@target_options
@as_json
@click.option("--old-upstream", is_flag=True, help="With the servers of that time, too.")
def rollback(as_json: bool, old_upstream: bool, **where: Any) -> int:
    """Take back what was applied last; the newest servers stay.

    What is taken back is quarantined: the source cannot bring it again as it is.
    """
    path = "/rollback" + ("?old_upstream=true" if old_upstream else "")
    answer = ask_daemon(
        find(**where),
        "POST",
        path,
        required=("config",),
        timeout_s=ROLLBACK_S,
        loopback_allowed=False,
    )
    if as_json:
        print_json(answer.body)
    else:
        from compute_common.cli.tables import show
        from compute_ctl.cli import tables

        show(tables.generations(read_body(answer, StatusBody).config))
    return 0


@cli.command(epilog=EPILOG, short_help="Make a primary of a standby.")
@target_options
@as_json
@click.option("--wal-flush-lsn", metavar="LSN", help="Replay the log up to there first.")
@click.option(
    "--wait", default=DEFAULT_WAIT, metavar="SECONDS", help=f"For that ({DEFAULT_WAIT} s)."
)
@click.argument("file", type=click.Path(), callback=read_document, required=False)
def promote(
    as_json: bool,
    wal_flush_lsn: str | None,
    wait: str,
    file: tuple[str, bytes] | None,
    **where: Any,
) -> int:
    """Make a primary of a standby, and bring the document in FILE (- for stdin) into force.

    Without FILE: the document in force, as that of a primary. Nobody stops the old primary.
    """
    wait_s = seconds(wait)
    wanted = {} if file is None else document_parts(*file)
    answer = ask_daemon(
        find(**where),
        "POST",
        f"/promote?wait={wait_s:g}",
        required=("status", "pg_promote_time_ms"),
        timeout_s=wait_s + ROLLBACK_S,
        loopback_allowed=False,
        body=msgspec.json.encode(wanted | {"wal_flush_lsn": wal_flush_lsn}),
    )
    if as_json:
        print_json(answer.body)
    else:
        total = sum(value for name, value in answer.body.items() if name.endswith("_ms"))
        click.echo(f"postgres is a primary after {total} ms")
    return 0


for _command in (
    files.validate,
    files.render_command,
    publish.publish,
    publish.set_settings,
    diff.diff,
    explain.explain,
    files.history,
):
    cli.add_command(_command)
