"""``python -m pg_hook`` as an operator runs it."""

import json
import subprocess
import sys

import pytest

from tests.core.daemon import always, answer, running

TAKEN = answer(b'{"status": "refresh_configuration_pending"}\n')


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    command = [sys.executable, "-m", "pg_hook", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


def test_taken() -> None:
    """Status and body are printed; exit 0."""
    with running(always(TAKEN)) as daemon:
        done = run("--endpoint", daemon.endpoint, "--reason", "moved \u00e4")
    assert (0, "") == (done.returncode, done.stderr)
    assert '200\n{"status": "refresh_configuration_pending"}\n' == done.stdout
    head, _, body = daemon.requests[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /refresh_configuration HTTP/1.1\r\n")
    assert b"X-Refresh-Source: manual" in head
    assert {"source": "manual", "text": "moved \u00e4"} == json.loads(body)


@pytest.mark.parametrize(
    ("outcome", "status"),
    [("applied", 0), ("unchanged", 0), ("rejected", 1), ("timeout", 1), (None, 1)],
)
def test_wait(outcome: str | None, status: int) -> None:
    """With --wait the outcome decides the exit status."""
    with running(always(answer(json.dumps({"outcome": outcome}).encode()))) as daemon:
        done = run("--endpoint", daemon.endpoint, "--wait", "2.5")
    assert done.returncode == status
    assert daemon.requests[0].startswith(b"POST /refresh_configuration?wait=2.5 ")


def test_refused() -> None:
    """An error of the daemon is shown; exit 1."""
    with running(always(answer(b'{"error": "no"}', status=b"403 Forbidden"))) as daemon:
        done = run("--endpoint", daemon.endpoint)
    assert (1, '403\n{"error": "no"}\n') == (done.returncode, done.stdout)


def test_unreachable() -> None:
    """No daemon: one line on stderr; exit 3."""
    done = run("--endpoint", "unix:/nonexistent/socket")
    assert (3, "") == (done.returncode, done.stdout)
    assert done.stderr.startswith("pg_hook: could not reach the daemon: connection refused")
    assert 1 == done.stderr.count("\n")


@pytest.mark.parametrize(
    "arguments",
    [
        ("--endpoint", "http://10.0.0.1:80"),
        ("--wait", "0"),
        ("--wait", "nan"),
        ("--wait", "x"),
        ("--unknown",),
    ],
)
def test_usage(arguments: tuple[str, ...]) -> None:
    """A wrong command line sends nothing; exit 2."""
    done = run(*arguments)
    assert (2, "") == (done.returncode, done.stdout)
    assert "error:" in done.stderr
