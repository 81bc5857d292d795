"""The commands for people against real listeners."""

import asyncio
import json
import os
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from compute_ctl.__main__ import main
from compute_ctl.decisions.model import Outcome, RequestOrigin, Suspicion
from compute_ctl.decisions.transitions import Event
from tests.daemon.api import Served, serve
from tests.support.nobody import AS_NOBODY


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    """A node behind its listeners, as a data directory has it."""
    folder = tmp_path / "compute_ctl"
    folder.mkdir()
    async with serve(folder, pgdata=tmp_path) as one:
        yield one


async def command(*words: str) -> int:
    """Run a command beside the daemon; return its exit status."""
    return await asyncio.to_thread(main, words)


async def test_status_by_data_directory(
    served: Served, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """-D finds the socket; --json is the answer of the API."""
    served.node.move(Event.PG_READY)
    assert 0 == await command("status", "-D", str(tmp_path), "--json")
    body = json.loads(capsys.readouterr().out)
    assert "running" == body["status"]
    assert 0 == await command("status", "-D", str(tmp_path))
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["status", "running"] in [line[:2] for line in lines]


async def test_status_tells_what_is_wrong(
    served: Served, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Suspicion, error and last attempt are there; a failed compute is exit status 1."""
    served.node.request_refresh(
        who="test",
        source=RequestOrigin.WORKER,
        suspicion=Suspicion(source="pageserver", shard=2, trouble="dead", text="refused"),
    )
    served.end_attempt(Outcome.REJECTED, "no good")
    served.node.server.catalog_error = "could not make role r"
    served.node.move(Event.SETTLE_FAILED)
    assert 1 == await command("status", "-D", str(tmp_path))
    out = capsys.readouterr().out
    assert "pageserver shard 2 dead: refused" in out
    assert re.search(r"^error +for 0.\d s: no good *$", out, re.MULTILINE)
    assert re.search(r"rejected in 1.5 ms *$", out, re.MULTILINE), "the reason stands above"
    assert "could not make role r" in out
    assert re.search(r"^in sync +no: no document is known *$", out, re.MULTILINE)
    assert re.search(r"^hint +Mend the document and publish it", out, re.MULTILINE)


async def test_status_tells_since_when(
    served: Served, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """How long the status and the server have been as they are; and that nobody can ask it."""
    served.node.postgres_ready()
    served.node.server.silent(served.node.status_since - 90, "wrong password")
    served.node.server.library_loaded = False
    await command("status", "-D", str(tmp_path))
    out = capsys.readouterr().out
    for expected in (
        r"status +running for [0-9.]+ s",
        r"postgres +accepts connections for [0-9.]+ s, pid 4711",
        r"sql +answers nothing for 2 min: wrong password",
        r"library +neon_refresh is not loaded: .+",
    ):
        assert re.search(rf"^{expected} *$", out, re.MULTILINE), expected
    served.postgres.ready = False
    await command("status", "-D", str(tmp_path))
    assert "answers nothing" not in capsys.readouterr().out


async def test_status_shows_no_suspicion_of_an_operator(served: Served) -> None:
    """Who asks for a refresh suspects nothing: only Postgres does."""
    await served.loopback("POST", "/refresh_configuration")
    refresh = (await served.loopback("GET", "/status")).json["refresh"]
    assert (True, None) == (refresh["pending"], refresh["suspected_since"])
    await served.loopback("POST", "/refresh_configuration", headers={"X-Refresh-Source": "worker"})
    assert (await served.loopback("GET", "/status")).json["refresh"]["suspected_since"] is not None


async def test_environment_finds_the_socket(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """$PGDATA serves where nothing is said, a port goes to loopback, a path to the socket."""
    monkeypatch.setenv("PGDATA", str(tmp_path))
    assert 0 == await command("status", "--json")
    monkeypatch.setenv("PGDATA", "/nowhere")
    assert 0 == await command("status", "--port", str(served.port))
    assert 0 == await command("status", "--socket", str(served.http.socket_path))
    assert 3 == await command("status")


@pytest.mark.parametrize(
    ("outcome", "in_sync", "status", "more"),
    [
        (Outcome.APPLIED, True, 0, ""),
        (Outcome.UNCHANGED, True, 0, ""),
        (Outcome.UNCHANGED, False, 1, ", but not in sync"),
        (Outcome.REJECTED, False, 1, " (why)"),
    ],
)
async def test_refresh_waits(
    served: Served,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    *,
    outcome: Outcome,
    in_sync: bool,
    status: int,
    more: str,
) -> None:
    """With --wait the exit status is the outcome, and whether that is in force."""
    monkeypatch.setattr("compute_ctl.node.snapshot.in_sync", lambda _: in_sync)
    running = asyncio.create_task(command("refresh", "--wait", "-D", str(tmp_path)))
    await served.requested()
    served.end_attempt(outcome, "why")
    assert await running == status
    said = capsys.readouterr().out.strip()
    assert said == f"outcome: {outcome}{more}"


async def test_rollback_needs_the_socket(
    served: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    """The loopback port is not even asked: what changes something needs rights."""
    assert 3 == await command("rollback", "--port", str(served.port))
    assert "this needs the unix socket" in capsys.readouterr().err


async def test_refresh_without_waiting(
    served: Served, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A recorded request is enough; --wait takes its seconds after =; --force reaches the node."""
    assert 0 == await command("refresh", "-D", str(tmp_path))
    assert capsys.readouterr().out.startswith("request 1 is recorded; status ")
    assert 1 == await command("refresh", "--wait=0.01", "--json", "-D", str(tmp_path))
    assert "timeout" == json.loads(capsys.readouterr().out)["outcome"]
    assert 0 == await command("refresh", "--force", "-D", str(tmp_path))
    assert served.node.requests.forced_at is not None


async def test_refusal_of_the_daemon(
    served: Served, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What the daemon refuses is told in its words, with exit status 1."""
    served.node.terminate("fast", who="test")
    assert 1 == await command("refresh", "-D", str(tmp_path))
    expected = "compute_ctl: error: invalid compute status: terminated\n"
    assert capsys.readouterr().err == expected


@pytest.mark.parametrize(
    ("words", "more"),
    [
        ("refresh --force", ""),
        ("rollback", ""),
        ("refresh", " Its --port on 127.0.0.1 needs no rights."),
        ("status", " Its --port on 127.0.0.1 needs no rights."),
    ],
)
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody without rights")
async def test_without_rights(served: Served, tmp_path: Path, words: str, more: str) -> None:
    """Who may not use the socket is told whom to run as, with exit status 4.

    No port is asked that nobody has named: another compute's daemon may listen there.
    """
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", AS_NOBODY, *words.split(), "-D", str(tmp_path)),
        stderr=asyncio.subprocess.PIPE,
    )
    _, error = await process.communicate()
    assert 4 == process.returncode
    expected = f'compute_ctl: error: may not use "{served.http.socket_path}"\n'
    assert error.decode() == f"{expected}hint: Run this as root.{more}\n"
