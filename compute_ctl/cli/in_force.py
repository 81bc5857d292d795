"""`diff`: what a new session runs with, beside what stands in the configuration file."""

from __future__ import annotations

import asyncio
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from compute_ctl.cli.client import ClientError, Target, ask
from compute_ctl.cli.common import warn
from compute_ctl.cli.explain import conninfo
from compute_ctl.decisions.proof import Complaint, SqlReport, judge
from compute_ctl.document.generation import LiveFile
from compute_ctl.errors import ProbeError
from compute_ctl.redact import redact
from compute_ctl.sql.probe import PgSqlProbe

LOOK_S: Final = 5.0
SESSION: Final = "a new session"


def out_of_force(
    live: LiveFile, path: Path, *, pgdata: str, state_dir: str | None, connstr: str
) -> tuple[str, str] | None:
    """Return what a new session has, and what the file has, of the settings that differ.

    None where the server does not run, or could not be asked; the latter is told.
    """
    if live.marker is None:
        return None
    try:
        where = connstr or conninfo(pgdata)
    except ClientError:
        return None  # nothing runs
    try:
        report = asyncio.run(PgSqlProbe(where).look(deadline_s=LOOK_S))
    except ProbeError as error:
        return _as_the_daemon_says(pgdata, state_dir, error)
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
            continue  # so far: only a reload would change it
        running.append(f"# {name}: {one.reason}\n")
        running += [] if has is None else [f"{name} = '{has}'\n"]
        written += [] if row is None else [f"{name} = '{row.value}'\n"]
    return "".join(running), "".join(written)


def _as_the_daemon_says(
    pgdata: str, state_dir: str | None, error: ProbeError
) -> tuple[str, str] | None:
    """Return what the daemon knows of that: it may be let in where we are not."""
    target = Target.find(
        socket=None, pgdata=pgdata, state_dir=state_dir, port=None, environment=os.environ
    )
    try:
        drift = ask(target, "GET", "/status", timeout_s=LOOK_S).body["postgres"]["drift"]
    except (ClientError, KeyError, TypeError):
        warn(f"what runs was not compared: {redact(str(error))}")
        return None
    return "".join(f"# {one['name']}: {one['reason']}\n" for one in drift), ""


def _value(report: SqlReport, one: Complaint) -> str | None:
    """Return what runs of a setting that is not as our file has it."""
    found = (report.running or {}).get((one.name or "").lower())
    return found.value if found is not None else None
