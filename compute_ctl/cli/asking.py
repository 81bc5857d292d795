"""What the commands that ask the daemon share: its options, the request, a refresh."""

from __future__ import annotations

import math
import os
from typing import Any, Final, TypeVar
from urllib.parse import urlencode

import click
import msgspec

from compute_common.cli.exit_codes import EXIT_FAILED, EXIT_NOT_PERMITTED, CommandError
from compute_common.cli.output import print_json
from compute_ctl.cli import hints
from compute_ctl.cli.client import DaemonResponse, Target, ask, not_compute_ctl
from compute_ctl.cli.local import Invocation
from compute_ctl.decisions.model import GOOD_OUTCOMES, Outcome
from compute_ctl.decisions.status import RefreshBody, StatusBody

DEFAULT_WAIT: Final = "60"
MAX_WAIT_S: Final = 600.0

Shape = TypeVar("Shape", StatusBody, RefreshBody)


def target_options(command: Any) -> Any:
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


def find(socket: str | None, pgdata: str | None, state_dir: str | None, port: int | None) -> Target:
    """Return the daemon that the options of `target_options` select."""
    return Target.find(
        socket=socket, pgdata=pgdata, state_dir=state_dir, port=port, environment=os.environ
    )


def ask_daemon(
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


def read_body(answer: DaemonResponse, shape: type[Shape]) -> Shape:
    """Return the body of *answer*. Raises CommandError."""
    try:
        return msgspec.convert(answer.body, shape)
    except msgspec.ValidationError as error:
        raise CommandError(
            EXIT_FAILED,
            f"cannot show what the daemon at {answer.address} says: {error}",
            hint="It is of another version: use the compute_ctl of that, or --json.",
        ) from error


def seconds(text: str) -> float:
    """Return the value of --wait. Raises click.BadParameter."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= MAX_WAIT_S:
        raise click.BadParameter(f"--wait takes a number of seconds from 0 to {MAX_WAIT_S:g}")
    return value


def invocation_of(answer: DaemonResponse, target: Target) -> Invocation:
    """Return how to type commands for the daemon that gave *answer*."""
    where = ("-D", str(target.pgdata)) if target.pgdata else ()
    kind, _, path = answer.address.partition(":")
    return Invocation.of(target.pgdata, where, path if kind == "unix" else None)


def request_refresh(
    target: Target, *, wait_s: float | None, force: bool = False, as_json: bool
) -> int:
    """Ask for a refresh, show the answer, return the exit status. Raises CommandError."""
    query = ({"wait": f"{wait_s:g}"} if wait_s is not None else {}) | (
        {"force": "true"} if force else {}
    )
    path = "/refresh_configuration" + (f"?{urlencode(query)}" if query else "")
    timeout_s = 10.0 + (wait_s or 0.0)
    answer = ask_daemon(
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

        show(tables.refresh(read_body(answer, RefreshBody)))
        hint = hints.outcome_hint(answer.body.get("outcome", ""), answer.body.get("reason", ""))
        if hint:
            click.echo(f"hint: {invocation_of(answer, target).complete(hint)}", err=True)
    good = answer.body.get("outcome", Outcome.APPLIED) in GOOD_OUTCOMES
    return 0 if good and answer.body.get("in_sync", True) else EXIT_FAILED
