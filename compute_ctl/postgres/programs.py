"""The server's programs: where they are, what environment they get, how a cluster is made."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from compute_ctl.errors import PostgresError

INITDB_TIMEOUT_S: Final = 120.0
_NOT_FOR_POSTGRES: Final = frozenset(
    {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "NEON_CONTROL_PLANE_TOKEN"}
    | {"LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"}
)
"""Variables that the server does not get: a superuser could read them from its environment."""


def child_environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment for Postgres and its tools."""
    kept = {name: value for name, value in os.environ.items() if name not in _NOT_FOR_POSTGRES}
    return {**kept, **(more or {})}


def resolve(pgbin: str) -> Path:
    """Return the absolute path of the server binary. Raises PostgresError."""
    found = shutil.which(pgbin)
    if found is None:
        raise PostgresError(
            f'could not find the server binary "{pgbin}"',
            hint="Name it with --pgbin, such as /usr/lib/postgresql/15/bin/postgres.",
        )
    return Path(found).absolute()


def beside(pgbin: str, name: str) -> Path | str:
    """Return the program *name* of the same installation, or its bare name to be looked up."""
    found = shutil.which(pgbin)
    sibling = Path(found).resolve().with_name(name) if found else None
    return sibling if sibling is not None and sibling.exists() else name


async def make_cluster(pgdata: Path, *, pgbin: str, superuser: str) -> None:
    """Run initdb for *pgdata* as the current user; local connections are trusted.

    Raises:
        PostgresError: it failed, with what it said.
    """
    command = [
        str(resolve(pgbin).with_name("initdb")),
        *("-D", str(pgdata), "-U", superuser, "-A", "trust", "-E", "UTF8", "--locale=C"),
    ]
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            env=child_environment(),
            cwd="/",
        )
    except OSError as error:
        raise PostgresError(f'could not run "{command[0]}": {error.strerror}') from error
    try:
        async with asyncio.timeout(INITDB_TIMEOUT_S):
            _, said = await process.communicate()
    except TimeoutError as error:
        raise PostgresError(f"initdb did not end within {INITDB_TIMEOUT_S:g} s") from error
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        text = " ".join(said.decode(errors="replace").split())
        raise PostgresError(f"initdb failed with status {process.returncode}: {text}")
