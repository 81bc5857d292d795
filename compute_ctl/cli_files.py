"""The commands for people that need no daemon: they work on files."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click

from compute_ctl import log
from compute_ctl.cli_client import ClientError, who_may
from compute_ctl.cli_common import (
    EPILOG,
    EXIT_FAILED,
    EXIT_NOT_PERMITTED,
    PROGRAM,
    as_json,
    complain,
    print_json,
)
from compute_ctl.errors import SpecError
from compute_ctl.redact import redact
from compute_ctl.render import RenderContext, Rendered, render
from compute_ctl.settings import Settings
from compute_ctl.spec import decode_document


@click.command(epilog=EPILOG)
@click.argument("file", type=click.File("rb"))
@as_json
def validate(file: Any, as_json: bool) -> int:
    """Check the document in FILE (- for stdin), without a daemon or a server."""
    name = "standard input" if file.name in ("-", "<stdin>") else file.name
    try:
        rendered = render(decode_document(file.read()), _context(attach=False))
    except SpecError as error:
        if as_json:
            problem = {"path": error.path, "reason": error.reason, "hint": error.hint}
            print_json({"valid": False, "errors": [problem], "warnings": []})
        else:
            complain(f"{name}: {error}", error.hint)
        return EXIT_FAILED
    if as_json:
        print_json({"valid": True, "errors": [], "warnings": list(rendered.warnings)})
    else:
        _warn(rendered)
        click.echo(f"{name}: valid")
    return 0


_render_options = (
    click.option("--attach", is_flag=True, help="As for a server run by somebody else."),
    click.option(
        "--internal-http-port",
        type=click.IntRange(0, 65535),
        help=f"The daemon's port, which the file names (default: {Settings.internal_http_port}).",
    ),
)


def _with_render_options(command: Any) -> Any:
    for option in reversed(_render_options):
        command = option(command)
    return command


@click.command("render", epilog=EPILOG)
@click.argument("file", type=click.File("rb"))
@_with_render_options
def render_command(file: Any, attach: bool, internal_http_port: int | None) -> None:
    """Print the configuration file that the document in FILE asks for."""
    context = _context(attach=attach, port=internal_http_port)
    rendered = render(decode_document(file.read()), context)
    _warn(rendered)
    click.echo(rendered.body, nl=False)


@click.command(epilog=EPILOG)
@click.argument("file", type=click.File("rb"))
@click.option("-D", "--pgdata", envvar="PGDATA", required=True, metavar="DIR")
@click.option("--state-dir", metavar="DIR", help="The daemon's, if not the usual.")
@_with_render_options
def diff(
    file: Any, pgdata: str, state_dir: str | None, attach: bool, internal_http_port: int | None
) -> int:
    """Compare what the server has with what FILE asks for; exit status 1 if they differ."""
    from compute_ctl import cli_output  # noqa: PLC0415 -- rich
    from compute_ctl.generation import LiveFile  # noqa: PLC0415

    folder = Path(pgdata).absolute()
    state = Path(state_dir).absolute() if state_dir else folder / "compute_ctl"
    live = folder / ("compute_ctl.conf" if attach else "postgresql.conf")
    old = LiveFile.parse(_read(live)).body
    port = _port_in(old) if internal_http_port is None else internal_http_port
    context = _context(attach=attach, port=port, state=state)
    new = render(decode_document(file.read()), context)
    text = cli_output.diff(old, new.body, old_name=str(live), new_name=file.name)
    if text:
        cli_output.show(cli_output.coloured_diff(redact(text)))
    return EXIT_FAILED if text else 0


@click.command(epilog=EPILOG)
@click.option("-D", "--pgdata", envvar="PGDATA", metavar="DIR", help="The data directory.")
@click.option("--state-dir", metavar="DIR", help="The daemon's state directory.")
@click.option("-n", "--limit", type=click.IntRange(1), default=20, show_default=True)
@as_json
def history(pgdata: str | None, state_dir: str | None, limit: int, as_json: bool) -> None:
    """Show past attempts: when, for whom, with what outcome. Needs no daemon."""
    from compute_ctl.state_store import StateStore  # noqa: PLC0415

    if not pgdata and not state_dir:
        raise click.UsageError("Missing option -D (or $PGDATA, or --state-dir)")
    folder = Path(state_dir) if state_dir else Path(str(pgdata)) / "compute_ctl"
    try:
        if not folder.is_dir() or not list(folder.iterdir()):
            raise ClientError(EXIT_FAILED, f'no daemon has used "{folder}" yet')
    except PermissionError as error:
        raise _not_permitted(folder) from error
    entries = StateStore(folder).history(limit)
    if as_json:
        print_json(entries)
        return
    from compute_ctl import cli_output  # noqa: PLC0415 -- rich

    cli_output.show(cli_output.history(entries))


def _port_in(body: str) -> int | None:
    """Return the port of the daemon that wrote *body*."""
    found = re.search(r"(?m)^neon\.extension_server_port = '(\d+)'$", body)
    return int(found[1]) if found else None


def _context(*, attach: bool, port: int | None = None, state: Path | None = None) -> RenderContext:
    folder = state or Path("/STATE_DIR")
    return RenderContext(
        attach=attach,
        internal_port=Settings.internal_http_port if port is None else port,
        token_file=str(folder / "storage_token"),
    )


def _warn(rendered: Rendered) -> None:
    for warning in rendered.warnings:
        click.echo(f"{PROGRAM}: warning: {log.escape(warning)}", err=True)


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except PermissionError as error:
        raise _not_permitted(path) from error
    except OSError as error:
        raise ClientError(EXIT_FAILED, f'could not read "{path}": {error.strerror}') from error


def _not_permitted(path: Path) -> ClientError:
    return ClientError(EXIT_NOT_PERMITTED, f'may not read "{path}"', hint=who_may(path))
