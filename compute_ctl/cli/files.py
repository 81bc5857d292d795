"""The commands that need no daemon: `validate`, `render` and `history`."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from compute_common.cli.exit_codes import EXIT_FAILED, EXIT_NOT_PERMITTED, EXIT_USAGE, CommandError
from compute_common.cli.output import WATCH_S, as_json, print_json
from compute_common.document.document import decode_document
from compute_common.errors import SpecError, SyntaxSpecError
from compute_ctl.cli.diff import context_for
from compute_ctl.cli.exit_codes import EPILOG, print_error, print_warning
from compute_ctl.cli.local import (
    is_attached,
    permission_error,
    permission_hint,
    read_document,
    require_data_directory,
)
from compute_ctl.document import lint
from compute_ctl.document.limits import Limits
from compute_ctl.document.render import Rendered, render
from compute_ctl.settings import Settings
from compute_ctl.store import history as past


def _with_options(*options: Any) -> Callable[[Any], Any]:
    def with_options(command: Any) -> Any:
        for option in reversed(options):
            command = option(command)
        return command

    return with_options


_limit_options = _with_options(
    *(
        click.option(
            f"--max-{what}",
            type=click.IntRange(1),
            default=default,
            show_default=True,
            help=f"Refuse more {what}, as a daemon with this flag.",
        )
        for what, default in (
            ("settings", Settings.max_settings),
            ("roles", Settings.max_roles),
            ("databases", Settings.max_databases),
        )
    )
)


@click.command(epilog=EPILOG)
@click.argument("file", type=click.Path(), callback=read_document)
@click.option("-D", "--pgdata", metavar="DIR", help="Also ask the server of this data directory.")
@click.option("-b", "--pgbin", default="postgres", metavar="FILE", help="With -D: its binary.")
@click.option("--strict", is_flag=True, help="Refuse a document that has warnings (status 1).")
@_limit_options
@as_json
def validate(
    *,
    file: tuple[str, bytes],
    pgdata: str | None,
    pgbin: str,
    strict: bool,
    as_json: bool,
    **limits: int,
) -> int:
    """Check the document in FILE (- for stdin), without a daemon.

    With -D the server's own binary reads what would be written, in a file beside the live one: it
    knows the values that it would refuse. The server may run; it is not touched.
    """
    name, raw = file
    folder = Path(pgdata).absolute() if pgdata else None
    if folder is not None:
        require_data_directory(folder)
    attached = folder is not None and is_attached(folder)
    try:
        document = decode_document(raw)
        rendered = render(document, context_for(attach=attached, limits=_limits(limits)))
    except SyntaxSpecError as error:
        problem = _problem(error.path, error.reason, line=error.line, column=error.column)
        return _report(name, [problem], (), as_json=as_json)
    except SpecError as error:
        problem = _problem(error.path, error.reason, hint=error.hint)
        return _report(name, [problem], (), as_json=as_json)
    problems = _refused_by_server(rendered, folder, pgbin, attached) if folder else []
    warnings = (*rendered.warnings, *lint.warnings(document))
    return _report(name, problems, warnings, as_json=as_json, strict=strict)


def _limits(given: dict[str, int]) -> Limits:
    return Limits(**{name.removeprefix("max_"): limit for name, limit in given.items()})


def _problem(
    path: str,
    reason: str,
    *,
    hint: str | None = None,
    line: int | None = None,
    column: int | None = None,
) -> dict[str, Any]:
    """Return an entry of `errors`; *line* and *column* are known for malformed JSON only."""
    found = {"path": path, "reason": reason, "hint": hint}
    return found if line is None else {**found, "line": line, "column": column}


def _refused_by_server(
    rendered: Rendered, folder: Path, pgbin: str, attached: bool
) -> list[dict[str, Any]]:
    """Return what the server binary *pgbin* refuses in the file that would be written.

    Raises:
        CommandError: the binary could not be run.
    """
    from compute_ctl.store.conf_file import ConfFile, NotAskedError

    binary = shutil.which(pgbin)
    if binary is None:
        raise CommandError(
            EXIT_USAGE, f'server binary "{pgbin}" does not exist', hint="Name it by -b."
        )
    live = folder / ("compute_ctl.conf" if attached else "postgresql.conf")
    store = ConfFile(live, pgdata=folder, pgbin=str(Path(binary).absolute()), attach=attached)
    try:
        found = store.judge(rendered.body)
    except NotAskedError as error:
        refused = isinstance(error.__cause__, PermissionError)
        raise CommandError(
            EXIT_NOT_PERMITTED if refused else EXIT_FAILED,
            f"could not ask the server's binary: {error}",
            hint=permission_hint(folder)
            if refused
            else "Without -D the document alone is checked.",
        ) from error
    return [_problem(one.name or one.file or "", one.said) for one in found]


def _report(
    name: str,
    problems: list[dict[str, Any]],
    warnings: tuple[str, ...],
    *,
    as_json: bool,
    strict: bool = False,
) -> int:
    """Print problems and warnings; return the exit status. *strict*: warnings count as errors."""
    valid = not problems and not (strict and warnings)
    if as_json:
        print_json({"valid": valid, "errors": problems, "warnings": list(warnings)})
    else:
        for problem in problems:
            if "line" in problem:
                place = f"{name}:{problem['line']}:{problem['column']}"
            else:
                place = ": ".join(filter(None, (name, problem["path"])))
            print_error(f"{place}: {problem['reason']}", problem["hint"])
        for warning in warnings:
            print_warning(warning)
        if valid:
            click.echo(f"{name}: valid")
        elif not problems:
            print_error(f"{name}: refused because of its warnings (--strict)")
    return 0 if valid else EXIT_FAILED


_render_options = _with_options(
    click.option("--attach", is_flag=True, help="As for a server run by somebody else."),
    click.option(
        "--internal-http-port",
        type=click.IntRange(0, 65535),
        help=f"The daemon's port, which the file names (default: {Settings.internal_http_port}).",
    ),
    _limit_options,
)


@click.command("render", epilog=EPILOG)
@click.argument("file", type=click.Path(), callback=read_document)
@_render_options
def render_command(
    file: tuple[str, bytes], attach: bool, internal_http_port: int | None, **limits: int
) -> None:
    """Print the configuration file that the document in FILE asks for."""
    name, raw = file
    context = context_for(attach=attach, port=internal_http_port, limits=_limits(limits))
    try:
        rendered = render(decode_document(raw), context)
    except SpecError as error:
        raise CommandError(EXIT_FAILED, f"{name}: {error}", hint=error.hint) from error
    _warn(rendered)
    click.echo(rendered.body, nl=False)


@click.command(epilog=EPILOG)
@click.option(
    "-D", "--pgdata", envvar="PGDATA", metavar="DIR", help="The data directory (or $PGDATA)."
)
@click.option("--state-dir", metavar="DIR", help="The daemon's state directory.")
@click.option("-n", "--limit", type=click.IntRange(1), default=20, show_default=True)
@as_json
@click.option("--watch", is_flag=True, help="Show it again every second, until interrupted.")
def history(
    *, pgdata: str | None, state_dir: str | None, limit: int, as_json: bool, watch: bool
) -> None:
    """Show past attempts: when, why, with what outcome. Needs no daemon."""
    if not pgdata and not state_dir:
        raise click.UsageError("Missing option -D (or $PGDATA, or --state-dir)")
    folder = Path(state_dir) if state_dir else Path(str(pgdata)) / "compute_ctl"
    if not state_dir:
        require_data_directory(Path(str(pgdata)))
    try:
        if not folder.is_dir() or not list(folder.iterdir()):
            raise CommandError(EXIT_FAILED, f'no daemon has used "{folder}" yet')
    except PermissionError as error:
        raise permission_error(folder) from error
    while True:
        entries = past.read(folder, limit)
        if as_json:
            print_json(entries, compact=watch)
        else:
            from compute_common.cli.tables import show
            from compute_ctl.cli import tables

            if watch:
                click.clear()
            show(tables.history(entries))
        if not watch:
            return
        time.sleep(WATCH_S)


def _warn(rendered: Rendered) -> None:
    for warning in rendered.warnings:
        print_warning(warning)
