"""A person takes back what was applied; the servers in force are not given up for it."""

import json
import re

import pytest

from compute_ctl.__main__ import main
from devstack.compute import Compute


def test_rollback(compute: Compute, capsys: pytest.CaptureFixture[str]) -> None:
    """The settings of before return, the newest pageserver stays, the source does not win again."""
    a, b = compute.pageserver("a"), compute.pageserver("b")
    folder = ["-D", str(compute.postgres.data)]
    compute.publish(a, settings={"work_mem": "8MB"})
    daemon = compute.start_daemon()
    assert 1 == main(["rollback", *folder])
    error = capsys.readouterr().err
    assert "cannot roll back: no earlier generation" in error
    assert "--old-upstream" not in error, "that would lead nowhere, too"

    compute.publish(b, settings={"work_mem": "16MB"})
    assert "applied" == daemon.refresh()
    assert 0 == main(["rollback", *folder])

    assert "8192" == compute.setting("work_mem")
    assert compute.setting("neon.pageserver_connstring") == b.url
    assert "rejected" == daemon.refresh()
    assert "8192" == compute.setting("work_mem")
    [refused] = daemon.status()["config"]["quarantined"]
    assert "an operator rolled it back" == refused["reason"]
    assert re.fullmatch(
        "quarantined since [-0-9]{10} [:0-9]{8} UTC: an operator rolled it back; "
        'a newer version or "compute_ctl refresh --force" tries again',
        daemon.status()["error"],
    )

    compute.publish(b, settings={"work_mem": "32MB"})
    assert "applied" == daemon.refresh()
    assert "32768" == compute.setting("work_mem")


def test_rollback_of_the_servers(compute: Compute, capsys: pytest.CaptureFixture[str]) -> None:
    """Servers return only where that is asked for."""
    a, b = compute.pageserver("a"), compute.pageserver("b")
    folder = ["-D", str(compute.postgres.data)]
    compute.publish(a)
    daemon = compute.start_daemon()
    compute.publish(b)
    assert "applied" == daemon.refresh()
    assert 1 == main(["rollback", *folder])
    error = capsys.readouterr().err
    assert "that differs in more than its servers" in error
    assert '"compute_ctl rollback --old-upstream" goes back to the servers of before' in error
    assert 0 == main(["rollback", "--old-upstream", "--json", *folder])

    assert json.loads(capsys.readouterr().out)["config"]["in_sync"] is True
    assert compute.setting("neon.pageserver_connstring") == a.url


def test_rollback_to_what_postgres_refuses(compute: Compute) -> None:
    """What ran before is written again, and the caller is told."""
    a = compute.pageserver("a")
    compute.publish(a, settings={"work_mem": "8MB"})
    daemon = compute.start_daemon()
    compute.publish(a, settings={"work_mem": "16MB"})
    assert "applied" == daemon.refresh()
    kept = compute.postgres.data / "compute_ctl" / "g" / "1.json"
    kept.write_text(kept.read_text().replace('"8MB"', '"8 bananas"'))

    code, body = daemon.call("POST", "/rollback")

    assert 500 == code
    assert "work_mem" in body["error"]
    assert "16384" == compute.setting("work_mem")
