"""A library that crashes each session is as good as one that is not there."""

import subprocess
from pathlib import Path

import psycopg
import pytest

from devstack.compute import Compute
from devstack.wait import wait_until

SOURCE = """
#include <signal.h>
__attribute__((constructor)) static void crash(void) { raise(SIGKILL); }
"""


@pytest.fixture
def library(compute: Compute) -> Path:
    """A library that ends every process that loads it."""
    source, made = compute.postgres.data / "crash.c", compute.postgres.data / "crash.so"
    source.write_text(SOURCE)
    command = ["cc", "-shared", "-fPIC", "-o", str(made), str(source)]
    subprocess.run(command, check=True, timeout=30)
    made.chmod(0o755)
    return made


def work_mem(compute: Compute) -> str | None:
    """Return the setting in a new session, None while the server restarts after a crash."""
    try:
        return compute.setting("work_mem")
    except psycopg.OperationalError:
        return None


def test_a_rest_that_crashes_every_session_is_refused(compute: Compute, library: Path) -> None:
    """The server itself restarts after each; the document goes, its servers stay."""
    a, b = compute.pageserver("a"), compute.pageserver("b")
    compute.publish(a, settings={"work_mem": "5MB"})
    daemon = compute.start_daemon()

    crash = {"session_preload_libraries": str(library)}
    compute.publish(b, settings={"work_mem": "6MB", **crash})
    daemon.refresh()

    wait_until("the refusal", lambda: daemon.status()["config"]["quarantined"], 30)
    (refused,) = daemon.status()["config"]["quarantined"]
    assert "new sessions are refused" in refused["reason"]
    assert "server closed the connection unexpectedly" in refused["reason"]
    wait_until("a session", lambda: "5120" == work_mem(compute), 30)
    assert b.url == compute.setting("neon.pageserver_connstring")
