"""What a detach means for the exit status."""

from compute_ctl.decisions.model import RequestOrigin
from compute_ctl.decisions.transitions import Event
from compute_ctl.node import Node
from tests.support.clock import FakeClock
from tests.support.fakes import AbsentPostgres


def test_a_detach_without_a_server_decides_no_exit_status() -> None:
    """The compute may be attached again, and an operator end it later: that is no detach."""
    node = Node(clock=FakeClock(), postgres=AbsentPostgres())
    node.request_refresh(who="a test", source=RequestOrigin.CLOCK)
    node.move(Event.FETCH_STARTED)
    node.detach()
    node.terminate("fast", who="an operator")
    assert node.exit_code is None
