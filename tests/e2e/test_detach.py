"""A compute that the control plane says twice is empty stops in good order."""

from tests.e2e.conftest import ComputeFactory

EXIT_EMPTY = 3


def test_confirmed_detach(make_compute: ComputeFactory) -> None:
    """Two empty answers, ten seconds apart: Postgres stops fast, the exit status is its own."""
    compute = make_compute(source="control_plane")
    a = compute.pageserver("a")
    compute.publish(a)
    daemon = compute.start_daemon()
    assert compute.control_plane is not None
    compute.control_plane.admin.empty_compute("compute-1")

    assert "empty" == daemon.refresh()
    assert compute.postgres.running

    assert daemon.child is not None
    assert EXIT_EMPTY == daemon.child.wait(30)
    assert compute.postgres.process is not None
    assert 0 == compute.postgres.process.wait(10)
    assert "received fast shutdown request" in compute.postgres.log_text()
