"""As root beside a cluster that lets in its own user only (`peer`, as on Debian)."""

import os
import shlex
import subprocess
import sys
from collections.abc import Iterator

import pytest

from compute_ctl.__main__ import main
from devstack.installation import give_away, os_user
from devstack.postgres import Postgres, Template
from tests.e2e.conftest import ComputeFactory

only_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root is somebody else")


@pytest.fixture
def peer(template: Template) -> Iterator[Postgres]:
    """Return a server on a port of its own with `local all all peer`."""
    with Postgres(template, name="peer") as server:
        hba = server.data / "pg_hba.conf"
        hba.write_text("local all all peer\n")
        give_away(hba)
        yield server.start()


@only_root
def test_explain_tells_whom_to_become(
    peer: Postgres, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command line of the hint works as it is: user, data directory and by it the port."""
    monkeypatch.delenv("PGPORT", raising=False)
    user = os_user()
    assert 4 == main(["explain", "work_mem", "-D", str(peer.data)])
    error, hint = capsys.readouterr().err.splitlines()
    assert "FATAL" in error
    command = f"su {user} -c 'compute_ctl explain work_mem -D {peer.data}'"
    assert f"hint: {command}, or name a user and password with -C." == hint

    program = f"{shlex.quote(sys.executable)} -m compute_ctl"
    readable = ["su", str(user), "-c", f"{program} --version"]
    if subprocess.run(readable, capture_output=True, check=False, timeout=30).returncode != 0:
        pytest.skip(f"this checkout is in a folder that {user} may not enter")
    shown = subprocess.run(
        ["/bin/sh", "-c", command.replace("compute_ctl", program, 1)],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    assert "4MB" in shown.stdout


@only_root
def test_explain_by_connection_string(peer: Postgres, capsys: pytest.CaptureFixture[str]) -> None:
    """Where no data directory is named, the owner of the socket is who to become."""
    connstr = f"host={peer.host} port={peer.port} dbname=postgres"
    assert 4 == main(["explain", "work_mem", "-C", connstr])
    hint = capsys.readouterr().err.splitlines()[1]
    assert hint.startswith(f"hint: su {os_user()} -c 'compute_ctl explain work_mem -C ")
    assert str(peer.port) in hint


@only_root
def test_status_quotes_commands_as_they_are_typed(
    make_compute: ComputeFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    """Root is told to become the server's user where a command logs in, with the folder."""
    compute = make_compute()
    compute.publish(compute.pageserver("a"), settings={"work_mem": "8MB"})
    daemon = compute.start_daemon()
    with (compute.postgres.data / "postgresql.conf").open("a") as conf:
        conf.write("work_mem = '32MB'\n")
    compute.postgres.reload()
    compute.publish(compute.pageserver("b"), settings={"work_mem": "8MB"})
    daemon.refresh()
    daemon.wait_status("the drift", lambda found: found["postgres"]["drift"])
    main(["status", "-D", str(compute.postgres.data)])
    expected = f"su {os_user()} -c 'compute_ctl explain work_mem -D {compute.postgres.data}'"
    assert expected in " ".join(capsys.readouterr().out.split())
