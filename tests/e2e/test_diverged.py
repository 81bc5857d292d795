"""A standby whose primary answers, but cannot serve it: no other document mends that."""

from typing import Any

import pytest

from compute_ctl.__main__ import main
from tests.e2e.test_standby import Cluster, cluster

__all__ = ["cluster"]


def complaint(cluster: Cluster) -> dict[str, Any]:
    """Ask for a refresh as an operator would; return what the standby complains of."""
    cluster.daemon.refresh()
    found: dict[str, Any] = cluster.daemon.wait_status(
        "the standby's complaint", lambda status: status["refresh"]["suspicion"]
    )
    return found


def hint(cluster: Cluster, capsys: pytest.CaptureFixture[str]) -> str:
    """Return what `status` advises."""
    cluster.daemon.refresh()
    capsys.readouterr()
    main(["status", "-D", str(cluster.standby.data)])
    out = capsys.readouterr().out
    return "\n".join(line for line in out.splitlines() if line.startswith("hint"))


def test_history_that_diverged(cluster: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    """The standby has log that the new primary never had: rewind or rebuild it."""
    cluster.second.query("select pg_promote()")
    cluster.follows(cluster.first, 1)
    cluster.first.query("select pg_switch_wal()")
    cluster.follows(cluster.first, 2)
    cluster.publish(cluster.second.dsn())

    suspicion = complaint(cluster)

    assert "primary" == suspicion["source"]
    # the walreceiver says the one, the startup process the other, and either may be first
    texts = ("is not in this server's history", "forked off current database system timeline")
    assert any(text in suspicion["text"] for text in texts)
    advice = hint(cluster, capsys)
    assert "pg_rewind" in advice
    assert "publish the new ones" not in advice


def test_log_that_is_gone(cluster: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    """The primary has removed log that the standby needs: an archive, or rebuild it; use slots."""
    cluster.follows(cluster.first, 1)
    cluster.standby.stop()
    cluster.first.configure({"wal_keep_size": "0", "max_wal_size": "32MB"})
    cluster.first.reload()
    for value in range(3):
        cluster.first.query(f"insert into story values ({value})")
        cluster.first.query("select pg_switch_wal()")
        cluster.first.query("checkpoint")
    cluster.standby.start()

    suspicion = complaint(cluster)

    assert "primary" == suspicion["source"]
    assert "has already been removed" in suspicion["text"]
    advice = hint(cluster, capsys)
    assert "slot" in advice
    assert "publish the new ones" not in advice
