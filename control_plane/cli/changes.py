"""The commands that change: put, set, delete, reconcile."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click
import msgspec

from compute_common.cli.exit_codes import (
    EXIT_FAILED,
    EXIT_NOT_PERMITTED,
    EXIT_USAGE,
    CommandError,
    print_error,
    print_warning,
)
from compute_common.cli.output import as_json, print_json
from compute_common.cli.settings_words import parse_settings
from control_plane.cli.client import Target, ask, target_options
from control_plane.cli.exit_codes import EPILOG
from control_plane.cli.run import read_token
from control_plane.http.bodies import TOKEN_HEADER, ChangeBody, ReconcileBody

RECONCILE_S = 120.0

dry_run_option = click.option(
    "--dry-run", is_flag=True, help="Show what would change, and change nothing."
)


@dataclass(frozen=True, kw_only=True)
class GivenAlong:
    """What is given along with a document."""

    query: dict[str, str | None]
    headers: dict[str, str] = field(repr=False)

    def __bool__(self) -> bool:
        return any((*self.query.values(), *self.headers.values()))


def given_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add options for what is given along with a document; *command* gets them as *given*.

    The command raises SettingsError: the token's file cannot be read.
    """

    @wraps(command)
    def with_given(
        *,
        push_url: str | None,
        no_push_url: bool,
        token_file: Path | None,
        no_token: bool,
        **others: Any,
    ) -> Any:
        removed = [name for name, yes in (("push_url", no_push_url), ("token", no_token)) if yes]
        headers = {} if token_file is None else {TOKEN_HEADER: read_token(token_file, "", "")}
        query = {"push_url": push_url, "remove": ",".join(removed)}
        return command(given=GivenAlong(query=query, headers=headers), **others)

    for option in (
        click.option("--no-token", is_flag=True, help="The shared token opens it again."),
        click.option(
            "--token-file",
            type=click.Path(path_type=Path),
            help="Holds the token that opens this document only.",
        ),
        click.option("--no-push-url", is_flag=True, help="Its daemon waits for changes itself."),
        click.option(
            "--push-url",
            metavar="URL",
            help="Base URL of a daemon that does not wait for changes, such as Neon's own: told by "
            "POST /configure.",
        ),
    ):
        with_given = option(with_given)
    return with_given


@click.command(epilog=EPILOG, short_help="Publish a document to a compute.")
@click.argument("compute_id", metavar="ID")
@click.argument("file", metavar="FILE")
@given_options
@dry_run_option
@target_options
@as_json
def put(
    *,
    compute_id: str,
    file: str,
    given: GivenAlong,
    dry_run: bool,
    as_json: bool,
    **where: Any,
) -> None:
    """Publish the document in FILE (- for standard input) to a compute, known or new."""
    change, body = ask(
        Target.of(**where), ChangeBody, "PUT", _path(compute_id), body=_read(file),
        query={**given.query, "dry_run": _true(dry_run)}, headers=given.headers,
    )  # fmt: skip
    _print(change, body, as_json=as_json)


@click.command("set", epilog=EPILOG, short_help="Set settings of a compute.")
@click.argument("compute_id", metavar="ID")
@click.argument("settings", metavar="NAME=VALUE...", nargs=-1)
@click.option("--remove", metavar="NAME", multiple=True, help="Remove this setting.")
@click.option("--create", is_flag=True, help="Make the compute where there is none.")
@given_options
@dry_run_option
@target_options
@as_json
def set_settings(
    *,
    compute_id: str,
    settings: tuple[str, ...],
    remove: tuple[str, ...],
    create: bool,
    given: GivenAlong,
    dry_run: bool,
    as_json: bool,
    **where: Any,
) -> None:
    """Set settings in the document of a compute, all in one generation."""
    values = parse_settings(settings, remove)
    if not values and not given:
        raise click.UsageError("name at least one setting, as NAME=VALUE or --remove NAME")
    change, body = ask(
        Target.of(**where), ChangeBody, "PATCH", f"{_path(compute_id)}/settings",
        query={**given.query, "create": _true(create), "dry_run": _true(dry_run)},
        body=msgspec.json.encode(values), headers=given.headers,
    )  # fmt: skip
    _print(change, body, as_json=as_json)


@click.command(epilog=EPILOG, short_help="Forget a compute.")
@click.argument("compute_id", metavar="ID")
@click.option("--yes", is_flag=True, help="Do not ask.")
@dry_run_option
@target_options
@as_json
def delete(compute_id: str, yes: bool, dry_run: bool, as_json: bool, **where: Any) -> None:
    """Forget a compute: it gets no document any more."""
    if not (yes or dry_run):
        if not sys.stdin.isatty():
            raise click.UsageError("--yes is missing, and nobody can be asked")
        click.confirm(f"Forget {compute_id} and its document?", abort=True, err=True)
    query = {"dry_run": _true(dry_run)}
    change, body = ask(Target.of(**where), ChangeBody, "DELETE", _path(compute_id), query=query)
    _print(change, body, as_json=as_json, deleted=True)


@click.command(epilog=EPILOG, short_help="Compare with the storage controller.")
@target_options
@as_json
def reconcile(as_json: bool, **where: Any) -> int:
    """Compare all documents with the storage controller now; exit status 1 if it is silent."""
    done, body = ask(
        Target.of(**where), ReconcileBody, "POST", "/v1/reconcile", timeout_s=RECONCILE_S
    )
    if as_json:
        print_json(body)
    elif done.failure:
        print_error(
            "compute_control_plane",
            f"the storage controller does not answer: {done.failure}",
            "It is asked again by itself; what is published stays.",
        )
    else:
        click.echo(f"compared with the storage controller: {done.computes_changed} changed")
    return EXIT_FAILED if done.failure else 0


def _true(flag: bool) -> str | None:
    return "true" if flag else None


def _path(compute_id: str) -> str:
    return f"/v1/computes/{quote(compute_id, safe='')}"


def _read(file: str) -> bytes:
    """Return the content of *file*. Raises CommandError."""
    try:
        return sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except PermissionError as error:
        raise CommandError(EXIT_NOT_PERMITTED, f'may not read "{file}"') from error
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise CommandError(EXIT_USAGE, f'could not read "{file}": {reason}') from error


def _print(change: ChangeBody, body: Any, *, as_json: bool, deleted: bool = False) -> None:
    """Print what a change did, each difference on a line of its own."""
    for warning in change.warnings:
        print_warning("compute_control_plane", warning)
    if as_json:
        print_json(body)
        return
    for line in change.differences:
        click.echo(line)
    would = "would be " if change.dry_run else ""
    if not change.changed:
        click.echo(f"{change.id}: unchanged, generation {change.generation}")
    elif deleted:
        click.echo(f"{change.id}: {would}deleted")
    elif change.incomplete:
        click.echo(f"{change.id}: {would}stored, and published once it is complete")
        click.echo(f"hint: {change.incomplete}", err=True)
    else:
        click.echo(f"{change.id}: {would}published as generation {change.generation}")
