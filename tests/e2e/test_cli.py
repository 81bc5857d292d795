"""The commands for people against a whole compute."""

import json
from pathlib import Path
from typing import Any

import pytest

from compute_ctl.__main__ import main
from devstack.compute import Compute
from devstack.compute_control_plane import COMPUTE_TOKEN
from devstack.installation import binary
from devstack.wait import wait_until


def shown(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    """Run a command with --json; return what it says."""
    assert 0 == main([*words, "--json"])
    return json.loads(capsys.readouterr().out)


def test_diff_against_the_control_plane(
    pulling: Compute,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nothing differs in force; a document that is published but not fetched yet does."""
    monkeypatch.setenv("NEON_CONTROL_PLANE_TOKEN", COMPUTE_TOKEN)
    pulling.faults.strike("no_reports")  # it is told nothing before it asks
    a = pulling.pageserver("a")
    pulling.publish(a, settings={"work_mem": "8MB"})
    pulling.start_daemon()
    words = ["diff", "-D", str(pulling.postgres.data)]
    words += ["-p", pulling.control_plane.proxy.base_url, "-i", pulling.compute_id]
    assert 0 == main(words)
    assert "" == capsys.readouterr().out

    pulling.publish(a, settings={"work_mem": "16MB"})

    assert 1 == main(words)
    out = capsys.readouterr().out.splitlines()
    changes = [line.rstrip() for line in out if line[:2] in ("-w", "+w")]
    assert ["-work_mem = '8MB'", "+work_mem = '16MB'"] == changes
    monkeypatch.setenv("NEON_CONTROL_PLANE_TOKEN", "wrong")
    assert 1 == main(words)
    assert COMPUTE_TOKEN not in capsys.readouterr().err


def test_explain(compute: Compute, capsys: pytest.CaptureFixture[str]) -> None:
    """The document's word, until somebody else has a later one."""
    a = compute.pageserver("a")
    compute.publish(a, settings={"work_mem": "8MB"})
    compute.start_daemon()
    explain = ["explain", "work_mem", "-C", compute.postgres.conninfo]
    found = shown(capsys, *explain)
    assert ("8MB", "compute_ctl: the document's settings") == (found["value"], found["owner"])
    assert found["file"] == str(compute.postgres.data / "compute_ctl.conf")
    text = (compute.postgres.data / "compute_ctl.conf").read_text().splitlines()
    assert "work_mem = '8MB'" == text[found["line"] - 1]

    with compute.postgres.connect() as connection:
        connection.execute("alter system set work_mem = '32MB'")
        connection.execute("alter database postgres set work_mem = '64MB'")
        connection.execute("select pg_reload_conf()")

    found = shown(capsys, *explain)
    assert ("64MB", "ALTER DATABASE") == (found["value"], found["owner"])
    assert [(one["value"], one["applied"]) for one in found["lines"]] == [
        ("8MB", False),
        ("32MB", True),
    ]
    assert [{"database": "postgres", "role": None, "value": "64MB"}] == found["overrides"]
    server = shown(capsys, "explain", "neon.pageserver_connstring", *explain[2:])
    assert "compute_ctl: the document's servers" == server["owner"]
    assert 0 == main(explain)
    assert "overridden" in capsys.readouterr().out


def test_explain_what_is_not_there(compute: Compute, capsys: pytest.CaptureFixture[str]) -> None:
    """An unknown name is told with what is like it; a server that is not there too."""
    connstr = ["-C", compute.postgres.conninfo]
    assert 1 == main(["explain", "maintenance_work", *connstr])
    error = capsys.readouterr().err
    assert 'the server knows no setting "maintenance_work"' in error
    assert "hint: Similar: maintenance_work_mem, " in error
    assert 2 == main(["explain", "x'y", *connstr])
    assert 3 == main(["explain", "work_mem", "-C", "host=127.0.0.1 port=9 user=u"])
    assert "-C" not in capsys.readouterr().err, "no hint to name what was named"


def test_a_server_started_again_is_not_called_silent(compute: Compute) -> None:
    """While PostgreSQL is stopped nobody can ask it; that is no silence, then or afterwards."""
    compute.publish(compute.pageserver("a"))
    daemon = compute.start_daemon()
    compute.postgres.stop()
    wait_until("downtime", lambda: daemon.metric("compute_pg_current_downtime_ms") > 0)
    compute.postgres.start()
    status = daemon.wait_status("ready", lambda s: s["postgres"]["ready"] and s)
    assert (None, None) == (
        status["postgres"]["silent_since"],
        status["postgres"]["silent_because"],
    )


def test_validate_asks_the_server_too(
    compute: Compute, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """With the data directory the server's binary says which value it would refuse, untouched."""
    compute.publish(compute.pageserver("a"), settings={"work_mem": "8MB"})
    compute.start_daemon()
    live = compute.postgres.data / "compute_ctl.conf"
    before = live.read_text()
    document = tmp_path / "document.json"
    words = ["validate", str(document), "-D", str(compute.postgres.data), "-b", binary("postgres")]

    option = {"name": "work_mem", "value": "banana", "vartype": "string"}
    document.write_text(json.dumps({"spec": {"cluster": {"settings": [option]}}}))
    assert 1 == main(words)
    assert 'work_mem: invalid value: "banana"' in capsys.readouterr().err

    document.write_text(json.dumps({"spec": {"cluster": {"settings": []}}}))
    assert shown(capsys, *words)["valid"] is True
    assert live.read_text() == before
