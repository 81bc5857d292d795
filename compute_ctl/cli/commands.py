"""The commands: those that ask the daemon, and the group that all of them belong to."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Sequence
from typing import Any, Final, TypeVar
from urllib.parse import urlencode

import click
import msgspec
from click.shell_completion import CompletionItem

from compute_common.cli.exit_codes import EXIT_FAILED, EXIT_NOT_PERMITTED, CommandError
from compute_common.cli.output import WATCH_S, as_json, print_json
from compute_common.cli.run_group import run_group
from compute_ctl import __version__
from compute_ctl.cli import diff, explain, files, hints
from compute_ctl.cli.client import DaemonResponse, Target, ask, not_compute_ctl
from compute_ctl.cli.exit_codes import COMPLETION_VARIABLE, EPILOG, PROGRAM
from compute_ctl.cli.local import Invocation, document_parts, read_document
from compute_ctl.cli.run_flags import flags
from compute_ctl.decisions.model import GOOD_OUTCOMES, Outcome
from compute_ctl.decisions.status import RefreshBody, StatusBody
from compute_ctl.decisions.transitions import Status

DEFAULT_WAIT: Final = "60"
MAX_WAIT_S: Final = 600.0
ROLLBACK_S: Final = 330.0
"""More than the daemon's own deadline for a rollback."""

Shape = TypeVar("Shape", StatusBody, RefreshBody)


def run_command(words: Sequence[str]) -> int:
    """Run one of the commands; return its exit status."""
    return run_group(cli, words, program=PROGRAM, completion_variable=COMPLETION_VARIABLE)


def _target_options(command: Any) -> Any:
    """Add the options that select the daemon."""
    options = (
        click.option("--socket", metavar="FILE", help="The daemon's unix socket."),
        click.option("-D", "--pgdata", metavar="DIR", help="Its data directory (or $PGDATA)."),
        click.option("--state-dir", metavar="DIR", help="Its state directory, if not the usual."),
        click.option("--port", type=click.IntRange(1, 65535), help="Its port on 127.0.0.1."),
    )
    for option in reversed(options):
        command = option(command)
    return command


def _target(
    socket: str | None, pgdata: str | None, state_dir: str | None, port: int | None
) -> Target:
    return Target.find(
        socket=socket, pgdata=pgdata, state_dir=state_dir, port=port, environment=os.environ
    )


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
@_target_options
@as_json
@click.option("--watch", is_flag=True, help="Show it again every second, until interrupted.")
def status(as_json: bool, watch: bool, **where: Any) -> int:
    """Show what the daemon does and knows; exit status 1 if it has failed."""
    target = _target(**where)
    while True:
        answer = _ask(
            target, "GET", "/status", required=("status", "config", "refresh", "postgres")
        )
        if as_json:
            print_json(answer.body, compact=watch)
        else:
            _show_status(answer, target, clear=watch)
        if not watch:
            return EXIT_FAILED if answer.body["status"] == Status.FAILED else 0
        time.sleep(WATCH_S)


def _invocation(answer: DaemonResponse, target: Target) -> Invocation:
    """Return how to type commands for the daemon that gave *answer*."""
    where = ("-D", str(target.pgdata)) if target.pgdata else ()
    kind, _, path = answer.address.partition(":")
    return Invocation.of(target.pgdata, where, path if kind == "unix" else None)


def _show_status(answer: DaemonResponse, target: Target, *, clear: bool) -> None:
    from compute_common.cli.tables import show
    from compute_ctl.cli import tables

    invocation = _invocation(answer, target)
    if clear:
        click.clear()
    body = _read(answer, StatusBody)
    show(tables.status(body, address=answer.address, invocation=invocation))


@cli.command(epilog=EPILOG)
@_target_options
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
    seconds = None if wait is None else _seconds(wait)
    query = ({"wait": f"{seconds:g}"} if seconds is not None else {}) | (
        {"force": "true"} if force else {}
    )
    path = "/refresh_configuration" + (f"?{urlencode(query)}" if query else "")
    timeout_s = 10.0 + (seconds or 0.0)
    target = _target(**where)
    answer = _ask(
        target,
        "POST",
        path,
        required=("status", "refresh_id"),
        timeout_s=timeout_s,
        loopback_allowed=not force,
    )
    if as_json:
        print_json(answer.body)
    else:
        from compute_common.cli.tables import show
        from compute_ctl.cli import tables

        show(tables.refresh(_read(answer, RefreshBody)))
        hint = hints.outcome_hint(answer.body.get("outcome", ""), answer.body.get("reason", ""))
        if hint:
            click.echo(f"hint: {_invocation(answer, target).complete(hint)}", err=True)
    good = answer.body.get("outcome", Outcome.APPLIED) in GOOD_OUTCOMES
    return 0 if good and answer.body.get("in_sync", True) else EXIT_FAILED


@cli.command(epilog=EPILOG)
@_target_options
@as_json
@click.option("--old-upstream", is_flag=True, help="With the servers of that time, too.")
def rollback(as_json: bool, old_upstream: bool, **where: Any) -> int:
    """Take back what was applied last; the newest servers stay.

    What is taken back is quarantined: the source cannot bring it again as it is.
    """
    path = "/rollback" + ("?old_upstream=true" if old_upstream else "")
    answer = _ask(
        _target(**where),
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

        show(tables.generations(_read(answer, StatusBody).config))
    return 0


@cli.command(epilog=EPILOG, short_help="Make a primary of a standby.")
@_target_options
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
    seconds = _seconds(wait)
    wanted = {} if file is None else document_parts(*file)
    answer = _ask(
        _target(**where),
        "POST",
        f"/promote?wait={seconds:g}",
        required=("status", "pg_promote_time_ms"),
        timeout_s=seconds + ROLLBACK_S,
        loopback_allowed=False,
        body=msgspec.json.encode(wanted | {"wal_flush_lsn": wal_flush_lsn}),
    )
    if as_json:
        print_json(answer.body)
    else:
        total = sum(value for name, value in answer.body.items() if name.endswith("_ms"))
        click.echo(f"postgres is a primary after {total} ms")
    return 0


def _ask(
    target: Target, method: str, path: str, *, required: tuple[str, ...], **options: Any
) -> DaemonResponse:
    """Return the response, whose body has the fields *required*. Raises CommandError."""
    answer = ask(target, method, path, **options)
    refused = answer.code >= 400
    body = answer.body if isinstance(answer.body, dict) else {}
    if not body.keys() >= ({"error"} if refused else set(required)):
        raise not_compute_ctl(answer.address)
    if refused:
        code = EXIT_NOT_PERMITTED if answer.code in (401, 403) else EXIT_FAILED
        raise CommandError(code, str(body["error"]), hint=body.get("hint"))
    return answer


def _read(answer: DaemonResponse, shape: type[Shape]) -> Shape:
    """Return the body of *answer*. Raises CommandError."""
    try:
        return msgspec.convert(answer.body, shape)
    except msgspec.ValidationError as error:
        raise CommandError(
            EXIT_FAILED,
            f"cannot show what the daemon at {answer.address} says: {error}",
            hint="It is of another version: use the compute_ctl of that, or --json.",
        ) from error


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= MAX_WAIT_S:
        raise click.BadParameter(f"--wait takes a number of seconds from 0 to {MAX_WAIT_S:g}")
    return value


for _command in (
    files.validate,
    files.render_command,
    diff.diff,
    explain.explain,
    files.history,
):
    cli.add_command(_command)
