"""What the postmaster could not reload: heard in the postmaster, told by the acknowledgement."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from devstack.installation import give_away
from devstack.postgres import Postgres
from devstack.wait import wait_until
from tests.pg.conftest import MakeNeon
from tests.support.daemon_stub import ACK, DaemonStub

SHOWN = "SELECT not_reloaded FROM neon_refresh.stat"


def told(daemon: DaemonStub, marker: str) -> list[Any]:
    """Return what the acknowledgements of *marker* said was not reloaded, in order."""
    acks = [post.body for post in daemon.of(ACK) if post.body["marker"] == marker]
    return [body.get("not_reloaded") for body in acks]


def wait_told(daemon: DaemonStub, marker: str, expected: list[str] | None) -> None:
    """Wait until the latest acknowledgement of *marker* says *expected*."""
    wait_until(f"{marker}: {expected}", lambda: told(daemon, marker)[-1:] == [expected])


def damage(file: Path) -> None:
    """Make a file of rules unreadable for PostgreSQL."""
    file.write_text("nonsense\n", "utf-8")
    give_away(file)


@pytest.fixture
def server(make_neon: MakeNeon, daemon: DaemonStub) -> Postgres:
    """Return a server that has acknowledged marker 1.a.b."""
    server = make_neon({"neon_refresh.config_generation": "1.a.b"}, daemon=daemon)
    daemon.wait_for(ACK)
    return server


def publish(server: Postgres, marker: str, **settings: Any) -> None:
    """Reload with a new marker."""
    server.configure({**settings, "neon_refresh.config_generation": marker})
    server.reload()


@pytest.mark.parametrize("kind", ["hba", "ident"])
def test_bad_rules_are_told_and_cured(server: Postgres, daemon: DaemonStub, kind: str) -> None:
    """A file of rules that was not reloaded is named until a reload takes it."""
    file = server.data / f"pg_{kind}.conf"
    good = file.read_text("utf-8")
    damage(file)
    publish(server, "2.a.b")
    wait_told(daemon, "2.a.b", [kind])
    assert server.value(SHOWN) == kind

    file.write_text(good, "utf-8")
    server.reload()
    wait_told(daemon, "2.a.b", None)
    assert server.value(SHOWN) is None


def test_ssl_without_a_certificate_is_told(server: Postgres, daemon: DaemonStub) -> None:
    """The settings are in force and no view shows an error; only the postmaster's word tells."""
    if server.value("SELECT setting FROM pg_config WHERE name = 'CONFIGURE'").find("ssl") < 0:
        pytest.skip("this PostgreSQL was built without TLS")
    publish(server, "2.a.b", ssl=True)
    wait_told(daemon, "2.a.b", ["ssl"])
    assert [] == server.query("SELECT * FROM pg_file_settings WHERE error IS NOT NULL")

    publish(server, "3.a.b", ssl=False)
    wait_told(daemon, "3.a.b", None)
    wait_until("a plain ack", lambda: told(daemon, "3.a.b") == [None])


def test_a_reload_without_a_new_marker_is_heard(server: Postgres, daemon: DaemonStub) -> None:
    """Somebody else's reload that fails in part is told with the marker that is in force."""
    damage(server.data / "pg_hba.conf")
    damage(server.data / "pg_ident.conf")
    server.reload()
    wait_told(daemon, "1.a.b", ["hba", "ident"])
    server.query("SELECT 1")
    assert "hba, ident" == server.value(SHOWN)


def test_a_failure_that_stays_is_told_with_each_marker(
    server: Postgres, daemon: DaemonStub
) -> None:
    """The next marker is accused of what its own reload did not take, and no other."""
    damage(server.data / "pg_hba.conf")
    publish(server, "2.a.b")
    wait_told(daemon, "2.a.b", ["hba"])
    publish(server, "3.a.b")
    wait_told(daemon, "3.a.b", ["hba"])


def test_a_crash_does_not_forget(server: Postgres, daemon: DaemonStub) -> None:
    """A crash restart makes shared memory anew; the postmaster still runs with the old rules."""
    damage(server.data / "pg_ident.conf")
    publish(server, "2.a.b")
    wait_told(daemon, "2.a.b", ["ident"])
    start = server.log_position()
    with server.connect() as connection:
        os.kill(connection.info.backend_pid, signal.SIGKILL)
    server.wait_log("database system is ready to accept connections", start=start)
    assert "ident" == server.value(SHOWN)
