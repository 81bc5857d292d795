"""`diff`: compares what Postgres runs, its configuration file, and what the source asks for now.

Needs no daemon: the generations are in its state directory, and the source is asked through the
daemon's own adapter.
"""

from __future__ import annotations

import asyncio
import os
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Final

import click
import msgspec

from compute_common.cli.exit_codes import EXIT_FAILED, CommandError
from compute_common.cli.output import as_json, print_json, unified_diff
from compute_common.document.document import decode_document
from compute_common.errors import SpecError
from compute_common.redact import redact
from compute_ctl.cli.client import Target, ask
from compute_ctl.cli.exit_codes import EPILOG, print_warning
from compute_ctl.cli.local import (
    is_attached,
    permission_error,
    read_document,
    require_data_directory,
    server_conninfo,
)
from compute_ctl.decisions.persistent_state import PersistentState
from compute_ctl.decisions.proof import Complaint, judge
from compute_ctl.decisions.sql_report import SqlReport
from compute_ctl.document.body import Body
from compute_ctl.document.generation import LiveFile
from compute_ctl.document.limits import Limits
from compute_ctl.document.render import RenderContext, render
from compute_ctl.errors import ProbeError
from compute_ctl.settings import Settings, worker_endpoint
from compute_ctl.sql.probe import PgSqlProbe

RUNNING: Final = "running"
"""Name of the generation that Postgres has proven to run."""
SESSION: Final = "a new session"
PROBE_TIMEOUT_S: Final = 5.0
_PORT: Final = re.compile(r"(?m)^neon\.extension_server_port = '(\d+)'$")
_ROLE: Final = re.compile(r"(?m)^neon\.privileged_role_name = '([a-z_]+)'$")
_OVERCOMMIT_NEVER: Final = "\ndynamic_shared_memory_type = 'mmap'\n"
UNLIMITED: Final = Limits(settings=10**9, roles=10**9, databases=10**9)
"""No limits: those of the daemon are unknown here, and do not matter for a comparison."""
"""In the file of a daemon on a machine that does not overcommit memory."""


@dataclass(frozen=True, kw_only=True)
class Side:
    """One of the texts compared."""

    name: str
    body: str


@click.command(epilog=EPILOG, short_help="Compare what runs, its file, and the source.")
@click.argument("file", required=False, type=click.Path(), callback=read_document)
@click.option(
    *("-D", "--pgdata"),
    envvar="PGDATA",
    required=True,
    metavar="DIR",
    help="The data directory (or $PGDATA).",
)
@click.option("--state-dir", metavar="DIR", help="The daemon's, if not the usual.")
@click.option("-C", "--connstr", default="", metavar="CONNINFO", help="How to reach the server.")
@click.option("--attach", is_flag=True, help="As for a server run by somebody else.")
@click.option("-p", "--control-plane-uri", metavar="URI", help="Compare with what it says now.")
@click.option("-i", "--compute-id", metavar="ID", help="With -p: which compute this is.")
@click.option("--control-plane-ca", metavar="FILE", help="With -p: the authorities to trust.")
@click.option(
    "--internal-http-port", type=click.IntRange(0, 65535), help="The daemon's port, if not told."
)
@as_json
def diff(
    *,
    file: tuple[str, bytes] | None,
    pgdata: str,
    state_dir: str | None,
    connstr: str,
    attach: bool,
    control_plane_uri: str | None,
    compute_id: str | None,
    control_plane_ca: str | None,
    internal_http_port: int | None,
    as_json: bool,
) -> int:
    """Compare what Postgres runs, its configuration file, and the source.

    The source is the document in FILE (- for stdin) or what the control plane (-p) says now;
    without either, only the first two are compared. A server that runs is asked over SQL what a new
    session has. Exit status 1 if anything differs.
    """
    if file is not None and control_plane_uri:
        raise click.UsageError("FILE and -p exclude each other")
    if bool(control_plane_uri) != bool(compute_id):
        raise click.UsageError("-p and -i need each other")
    folder = Path(pgdata).absolute()
    require_data_directory(folder)
    state = Path(state_dir).absolute() if state_dir else folder / "compute_ctl"
    attached = attach or is_attached(folder)
    live = folder / ("compute_ctl.conf" if attached else "postgresql.conf")
    sides = _running(state)
    written = LiveFile.parse(_read(live))
    sides.append(Side(name=str(live), body=written.body))
    pairs = session_pair(written, live, pgdata=pgdata, state_dir=state_dir, connstr=connstr)
    context = _context_of(sides[-1].body, attached, internal_http_port, state)
    if file is not None:
        sides.append(_desired(*file, context, sides[-1]))
    elif control_plane_uri and compute_id:
        raw = asyncio.run(_ask(control_plane_uri, compute_id, control_plane_ca))
        sides.append(_desired(control_plane_uri, raw, context, sides[-1]))
    return _show([*pairs, *pairwise(sides)], as_json=as_json)


def _show(pairs: list[tuple[Side, Side]], *, as_json: bool) -> int:
    """Print how the sides of each pair differ."""
    from compute_common.cli.tables import show
    from compute_ctl.cli import tables

    found = []
    for old, new in pairs:
        text = unified_diff(old.body, new.body, old_name=old.name, new_name=new.name)
        found.append({"from": old.name, "to": new.name, "diff": redact(text)})
    if as_json:
        print_json(found)
    else:
        for one in found:
            if one["diff"]:
                show(tables.coloured_diff(one["diff"]))
    return EXIT_FAILED if any(one["diff"] for one in found) else 0


def _running(state: Path) -> list[Side]:
    """Return the generation that Postgres runs, or nothing where that is not known."""
    from compute_ctl.store.state_dir import StateDir

    try:
        applied = msgspec.json.decode(
            (state / "state.json").read_bytes(), type=PersistentState
        ).applied
    except PermissionError as error:
        raise permission_error(state) from error
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return []
    kept = StateDir(state).get_generation(applied.generation) if applied else None
    if applied is None or kept is None:
        return []
    body = LiveFile.parse(kept[1]).body
    return [Side(name=f"{RUNNING} (generation {applied.generation})", body=body)]


def _desired(name: str, raw: bytes, context: RenderContext, live: Side) -> Side:
    try:
        rendered = render(decode_document(raw), context, Body.read(live.body).candidates)
    except SpecError as error:
        raise CommandError(EXIT_FAILED, f"{redact(name)}: {error}", hint=error.hint) from error
    for warning in rendered.warnings:
        print_warning(warning)
    return Side(name=redact(name), body=rendered.body)


async def _ask(uri: str, compute_id: str, ca: str | None) -> bytes:
    """Fetch the document as the daemon would. Raises FetchError."""
    from compute_ctl.ports import FetchStatus
    from compute_ctl.sources.control_plane import ControlPlane

    plane = ControlPlane(
        uri,
        compute_id=compute_id,
        token=os.environ.get("NEON_CONTROL_PLANE_TOKEN", ""),
        ca=Path(ca) if ca else None,
    )
    try:
        answer = await plane.fetch()
    finally:
        await plane.close()
    if answer.status is not FetchStatus.ATTACHED:
        raise CommandError(
            EXIT_FAILED, f'the control plane has no document: it says "{answer.status}"'
        )
    return answer.raw


def _context_of(live: str, attached: bool, port: int | None, state: Path) -> RenderContext:
    """Return what the daemon that wrote *live* renders with; *port* beats what stands there."""
    found = _PORT.search(live)
    role = _ROLE.search(live)
    return context_for(
        attach=attached,
        port=int(found[1]) if found and port is None else port,
        state=state,
        overcommit_never=_OVERCOMMIT_NEVER in live,
        role=role[1] if role else None,
        limits=UNLIMITED,
    )


def context_for(
    *,
    attach: bool,
    port: int | None = None,
    state: Path | None = None,
    overcommit_never: bool = False,
    role: str | None = None,
    limits: Limits | None = None,
) -> RenderContext:
    """Return what the daemon would render with, as far as it is known."""
    folder = state or Path("/STATE_DIR")
    return RenderContext(
        attach=attach,
        internal_port=Settings.internal_http_port if port is None else port,
        endpoint=worker_endpoint(folder),
        overcommit_never=overcommit_never,
        privileged_role=role or Settings.privileged_role,
        token_file=str(folder / "storage_token"),
        limits=limits or Limits(),
    )


def session_pair(
    live: LiveFile, path: Path, *, pgdata: str, state_dir: str | None, connstr: str
) -> list[tuple[Side, Side]]:
    """Return the settings that differ: as a new session has them, and as the file has them.

    No pair where the server does not run, or could not be asked, which is printed as a warning.
    """
    if live.marker is None:
        return []
    try:
        where = connstr or server_conninfo(pgdata)
    except CommandError:
        return []  # the server does not run
    try:
        report = asyncio.run(PgSqlProbe(where).look(deadline_s=PROBE_TIMEOUT_S))
    except ProbeError as error:
        drift = _drift_from_daemon(pgdata, state_dir, error)
        return [] if drift is None else _in_part(path, drift, "")
    verdict = judge(
        report,
        None,
        our_file=str(path),
        marker=str(live.marker),
        swapped_at=datetime.now(UTC),
        names=frozenset(),
    )
    ours = {(row.name or "").lower(): row for row in report.settings if row.file == str(path)}
    running, written = [], []
    for one in verdict.shadowed:
        name = one.name or ""
        row = ours.get(name.lower())
        has = _value(report, one)
        if row is not None and row.value == has:
            continue  # the same until the next reload
        running.append(f"# {name}: {one.reason}\n")
        running += [] if has is None else [f"{name} = '{has}'\n"]
        written += [] if row is None else [f"{name} = '{row.value}'\n"]
    return _in_part(path, "".join(running), "".join(written))


def _in_part(path: Path, running: str, written: str) -> list[tuple[Side, Side]]:
    return [(Side(name=SESSION, body=running), Side(name=f"{path} (in part)", body=written))]


def _drift_from_daemon(pgdata: str, state_dir: str | None, error: ProbeError) -> str | None:
    """Return the drift that the daemon reports: it may be allowed to log in where we are not."""
    target = Target.find(
        socket=None, pgdata=pgdata, state_dir=state_dir, port=None, environment=os.environ
    )
    try:
        drift = ask(target, "GET", "/status", timeout_s=PROBE_TIMEOUT_S).body["postgres"]["drift"]
    except (CommandError, KeyError, TypeError):
        print_warning(f"what runs was not compared: {redact(str(error))}")
        return None
    return "".join(f"# {one['name']}: {one['reason']}\n" for one in drift)


def _value(report: SqlReport, one: Complaint) -> str | None:
    """Return the running value of the setting that *one* is about."""
    found = (report.running or {}).get((one.name or "").lower())
    return found.value if found is not None else None


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except PermissionError as error:
        raise permission_error(path) from error
    except OSError as error:
        raise CommandError(EXIT_FAILED, f'could not read "{path}": {error.strerror}') from error
