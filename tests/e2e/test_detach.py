"""A compute that the control plane says twice is empty stops in good order."""

from devstack.compute import Compute

EXIT_EMPTY = 3


def test_confirmed_detach(pulling: Compute) -> None:
    """Two empty answers, ten seconds apart: Postgres stops fast, the exit status is its own."""
    a = pulling.pageserver("a")
    pulling.publish(a)
    daemon = pulling.start_daemon()
    pulling.faults.answer({"status": "empty"})

    assert "empty" == daemon.refresh()
    assert pulling.postgres.running

    assert daemon.child is not None
    assert EXIT_EMPTY == daemon.child.wait(30)
    assert pulling.postgres.process is not None
    assert 0 == pulling.postgres.process.wait(10)
    assert "received fast shutdown request" in pulling.postgres.log_text()
