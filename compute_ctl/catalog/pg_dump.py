"""Dumps the schema of a database as SQL, by running pg_dump.

The output is streamed at the speed of the reader and never held in memory as a whole. The program
ends with the reader, and after five minutes in any case.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator
from contextlib import suppress
from pathlib import Path
from typing import Final

from compute_common.errors import RequestError, SpecError
from compute_ctl.catalog.sessions import APPLICATION
from compute_ctl.document.conninfo import without_password
from compute_ctl.errors import CatalogError

PIECE_BYTES: Final = 64 * 1024
TOTAL_S: Final = 300.0
AT_ONCE: Final = 2
_END_S: Final = 5.0
_OWN_TABLES: Final = ("public.health_check", "public.health_check_id_seq")
_ENVIRONMENT: Final = ("HOME", "LANG", "LC_ALL", "PATH", "PGPASSFILE", "PGSSLMODE", "TMPDIR")
"""The environment variables passed to pg_dump: no token, no notification socket."""


class PgDump:
    """Runs pg_dump against one server."""

    def __init__(self, connstr: str, *, program: Path | str) -> None:
        """*connstr* is a superuser's conninfo; its password does not appear in the process list."""
        self._connstr = connstr
        self._program = str(program)
        self._running = 0

    async def schema(self, database: str) -> AsyncGenerator[bytes, None]:
        """Yield the output of pg_dump; closing the generator ends the program.

        Raises:
            RequestError: 503 too many dumps are running.
            CatalogError: it failed, perhaps after some output.
        """
        if self._running >= AT_ONCE:
            raise RequestError(503, "too many schema dumps at once")
        self._running += 1
        process: asyncio.subprocess.Process | None = None
        try:
            process = await self._start(database)
            deadline = asyncio.get_running_loop().time() + TOTAL_S
            while piece := await _piece(process, deadline):
                yield piece
            status = await asyncio.wait_for(process.wait(), _END_S)
            if status != 0:
                raise CatalogError(f"pg_dump ended with status {status}")
        finally:
            self._running -= 1
            if process is not None:
                await _end(process)

    async def _start(self, database: str) -> asyncio.subprocess.Process:
        from psycopg.conninfo import make_conninfo

        try:
            given, password = without_password(self._connstr)
        except SpecError as error:
            raise CatalogError("the connection string is not valid") from error
        conninfo = make_conninfo(
            given,
            dbname=database,
            application_name=APPLICATION,
            options="-c default_transaction_read_only=off -c statement_timeout=0 -c role=none",
        )
        environment = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
        if password:
            environment["PGPASSWORD"] = password
        try:
            return await asyncio.create_subprocess_exec(
                self._program,
                *("--schema-only", "--no-password", "--lock-wait-timeout=10s"),
                *(f"--exclude-table={name}" for name in _OWN_TABLES),
                *("--exclude-schema=neon_migration", "--dbname", conninfo),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                env=environment,
                cwd="/",
            )
        except OSError as error:
            raise CatalogError(
                f'could not run "{self._program}": {error.strerror or error}'
            ) from error


async def _piece(process: asyncio.subprocess.Process, deadline: float) -> bytes:
    assert process.stdout is not None  # noqa: S101 (a pipe was asked for)
    try:
        async with asyncio.timeout_at(deadline):
            return await process.stdout.read(PIECE_BYTES)
    except TimeoutError as error:
        raise CatalogError(f"pg_dump did not end within {TOTAL_S:g} s") from error


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
