"""Since when something is wrong: from the first time it was seen."""

from compute_ctl.decisions.proof import Complaint, Proof, Verdict
from compute_ctl.node import Node
from compute_ctl.node.attempt_log import AttemptLog
from tests.support.clock import FakeClock
from tests.support.fakes import AbsentPostgres

DRIFT = Verdict(proof=Proof.NONE, shadowed=(Complaint(name="work_mem", reason="overridden"),))


def test_error() -> None:
    """The same error again is as old as it was; another one is new, none has no age."""
    clock = FakeClock()
    attempts = AttemptLog(clock)
    found = []
    for clock.now, error in ((1.0, "a"), (2.0, "a"), (3.0, "b"), (4.0, None), (5.0, "b")):
        attempts.show_error(error)
        found.append(attempts.error_since)

    assert [1.0, 1.0, 3.0, None, 5.0] == found


def test_drift() -> None:
    """It lasts from the first look that finds any."""
    clock = FakeClock()
    node = Node(clock=clock, postgres=AbsentPostgres())
    for clock.now in (7.0, 8.0):
        node.looked(DRIFT)

    assert 7.0 == node.server.drift_since
    node.server.drifts(None)
    assert node.server.drift_since is None
