"""Having the safekeepers agree, by whatever server binary there is."""

import asyncio
import os
from pathlib import Path

import pytest

from compute_ctl.errors import BackupError
from compute_ctl.postgres.safekeeper_sync import sync_safekeepers
from devstack.installation import binary, os_user
from devstack.wait import until


def program(folder: Path, text: str) -> str:
    """A server binary that is a script, as Neon's is not here."""
    path = folder / "postgres"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


async def test_position(tmp_path: Path) -> None:
    """The last line is the position; the program gets data directory, option and token."""
    pgbin = program(tmp_path, 'echo "$PGDATA $1 $NEON_AUTH_TOKEN" >&2; echo noise; echo 0/16B5A50')
    found = await sync_safekeepers(tmp_path, pgbin=pgbin, environment={"NEON_AUTH_TOKEN": "t"})

    assert "0/16B5A50" == found

    asks = program(tmp_path, '[ "$PGDATA $1" = "' + f'{tmp_path} --sync-safekeepers" ] && echo 1/2')
    assert "1/2" == await sync_safekeepers(tmp_path, pgbin=asks, environment={})


async def test_binary_of_postgresql(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """PostgreSQL's own binary does not know the option: that is noticed at once, and logged."""
    user = os_user()
    become = f"setpriv --reuid={user} --regid={user} --clear-groups" if user else ""
    pgbin = program(tmp_path, f'exec {become} {binary("postgres")} "$@"')

    assert await sync_safekeepers(tmp_path, pgbin=pgbin, environment={}) is None

    assert "cannot synchronize safekeepers" in caplog.text


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("echo no quorum >&2; exit 3", "status 3: no quorum"),
        ("echo nothing", "printed no position"),
        ("true", "printed no position"),
        ("exec sleep 60", "did not agree within 0.2 s"),
    ],
)
async def test_failures(tmp_path: Path, text: str, reason: str) -> None:
    """A program that fails, says nonsense or does not end is a failed try."""
    pgbin = program(tmp_path, text)
    within = 0.2 if "sleep" in text else 30.0
    with pytest.raises(BackupError, match=reason):
        await sync_safekeepers(tmp_path, pgbin=pgbin, environment={}, within_s=within)


async def test_missing_binary(tmp_path: Path) -> None:
    """A binary that is not there is named."""
    with pytest.raises(BackupError, match="no-such"):
        await sync_safekeepers(tmp_path, pgbin="/no-such/postgres", environment={})


async def test_cancelled(tmp_path: Path) -> None:
    """Cancelling ends the program."""
    file = tmp_path / "pid"
    pgbin = program(tmp_path, f"echo $$ > {file}.tmp; mv {file}.tmp {file}; exec sleep 60")
    syncing = asyncio.create_task(sync_safekeepers(tmp_path, pgbin=pgbin, environment={}))
    await until("the program to run", file.exists)
    syncing.cancel()

    with pytest.raises(asyncio.CancelledError):
        await syncing

    with pytest.raises(ProcessLookupError):
        os.kill(int(file.read_text()), 0)
