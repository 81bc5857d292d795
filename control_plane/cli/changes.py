"""The commands that change: put, set, delete, reconcile."""

from __future__ import annotations

import sys
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
from control_plane.cli.client import Target, ask, target_options
from control_plane.cli.exit_codes import EPILOG
from control_plane.cli.run import read_token
from control_plane.http.bodies import TOKEN_HEADER, ChangeBody, ReconcileBody

RECONCILE_S = 120.0

dry_run_option = click.option(
    "--dry-run", is_flag=True, help="Show what would change, and change nothing."
)


@click.command(epilog=EPILOG, short_help="Publish a document to a compute.")
@click.argument("compute_id", metavar="ID")
@click.argument("file", metavar="FILE")
@click.option(
    "--push-url",
    metavar="URL",
    help="Base URL of a daemon that does not wait for changes, such as Neon's own: told by "
    "POST /configure.",
)
@click.option(
    "--token-file",
    type=click.Path(path_type=Path),
    help="Holds the token that opens this document only.",
)
@dry_run_option
@target_options
@as_json
def put(
    *,
    compute_id: str,
    file: str,
    push_url: str | None,
    token_file: Path | None,
    dry_run: bool,
    as_json: bool,
    **where: Any,
) -> None:
    """Publish the document in FILE (- for standard input) to a compute, known or new."""
    headers = {}
    if token_file is not None:
        headers[TOKEN_HEADER] = read_token(token_file, "", "")
    query = {"push_url": push_url, "dry_run": "true" if dry_run else None}
    change, body = ask(
        Target.of(**where), ChangeBody, "PUT", _path(compute_id),
        query=query, body=_read(file), headers=headers,
    )  # fmt: skip
    _print(change, body, as_json=as_json)


@click.command("set", epilog=EPILOG, short_help="Set settings of a compute.")
@click.argument("compute_id", metavar="ID")
@click.argument("settings", metavar="NAME=VALUE...", nargs=-1)
@click.option("--remove", metavar="NAME", multiple=True, help="Remove this setting.")
@dry_run_option
@target_options
@as_json
def set_settings(
    compute_id: str,
    settings: tuple[str, ...],
    remove: tuple[str, ...],
    dry_run: bool,
    as_json: bool,
    **where: Any,
) -> None:
    """Set settings in the document of a compute, known or new, all in one generation."""
    values: dict[str, str | None] = dict.fromkeys(remove)
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals or not name:
            raise click.UsageError(f'"{setting}" is not NAME=VALUE')
        values[name] = value
    if not values:
        raise click.UsageError("name at least one setting, as NAME=VALUE or --remove NAME")
    change, body = ask(
        Target.of(**where), ChangeBody, "PATCH", f"{_path(compute_id)}/settings",
        query={"dry_run": "true" if dry_run else None}, body=msgspec.json.encode(values),
    )  # fmt: skip
    _print(change, body, as_json=as_json)


@click.command(epilog=EPILOG, short_help="Forget a compute.")
@click.argument("compute_id", metavar="ID")
@dry_run_option
@target_options
@as_json
def delete(compute_id: str, dry_run: bool, as_json: bool, **where: Any) -> None:
    """Forget a compute: it gets no document any more."""
    query = {"dry_run": "true" if dry_run else None}
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
