"""Has the safekeepers agree where the log of a primary ends, by Neon's server binary.

The binary is an elected proposer for a moment: `postgres --sync-safekeepers` prints the position as
its last line. The server of PostgreSQL itself does not know the option and says so at once.
"""

from __future__ import annotations

import asyncio
import logging
import re
import signal
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from compute_ctl.errors import BackupError, PostgresError
from compute_ctl.postgres.programs import child_environment, resolve

logger = logging.getLogger(__name__)

OPTION: Final = "--sync-safekeepers"
SYNC_TIMEOUT_S: Final = 60.0
STOP_S: Final = 5.0
UNKNOWN_OPTION: Final = f"{OPTION} requires a value"
"""How the server of PostgreSQL refuses a long option that it does not know."""
_LSN: Final = re.compile(r"[0-9A-F]{1,8}/[0-9A-F]{1,8}")


async def sync_safekeepers(
    pgdata: Path, *, pgbin: str, environment: Mapping[str, str], within_s: float = SYNC_TIMEOUT_S
) -> str | None:
    """Return the position, None where *pgbin* cannot do it; *pgdata* holds the configuration only.

    Cancelling it ends the program.

    Raises:
        BackupError: the safekeepers did not agree in time, or the program failed.
    """
    more = {**environment, "PGDATA": str(pgdata), "LC_ALL": "C"}
    try:
        process = await asyncio.create_subprocess_exec(
            *(str(resolve(pgbin)), OPTION),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=child_environment(more),
            cwd="/",
        )
    except (OSError, PostgresError) as error:
        raise BackupError(f"could not run {pgbin} {OPTION}: {error}") from error
    try:
        async with asyncio.timeout(within_s):
            out, said = await process.communicate()
    except TimeoutError:
        raise BackupError(f"the safekeepers did not agree within {within_s:g} s") from None
    finally:
        await _end(process)
    return _position(process.returncode, out, said, pgbin)


def _position(status: int | None, out: bytes, said: bytes, pgbin: str) -> str | None:
    """Return what the program found. Raises BackupError."""
    messages = " ".join(said.decode(errors="replace").split())
    if status != 0:
        if UNKNOWN_OPTION in messages:
            logger.warning(
                "%s cannot synchronize safekeepers, as it is not Neon's: taking the newest backup",
                pgbin,
            )
            return None
        raise BackupError(f"{OPTION} failed with status {status}: {messages[-500:]}")
    last = (out.decode(errors="replace").split() or [""])[-1]
    if _LSN.fullmatch(last) is None:
        raise BackupError(f"{OPTION} printed no position of the log")
    return last


async def _end(process: asyncio.subprocess.Process) -> None:
    """Stop the program if it still runs."""
    if process.returncode is not None:
        return
    with suppress(ProcessLookupError):
        process.send_signal(signal.SIGTERM)
    try:
        async with asyncio.timeout(STOP_S):
            await process.wait()
    except TimeoutError:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
