"""What a detach means for the exit status."""

from compute_ctl.decisions.facts import Source
from compute_ctl.decisions.state import Event
from compute_ctl.node import Node
from tests.support.by_hand import HandClock, NoPostgres


def test_a_detach_without_a_server_decides_no_exit_status() -> None:
    """The compute may be attached again, and an operator end it later: that is no detach."""
    node = Node(clock=HandClock(), postgres=NoPostgres())
    node.request_refresh(who="a test", source=Source.CLOCK)
    node.move(Event.DUE)
    node.detach()
    node.terminate("fast", who="an operator")
    assert node.exit_code is None
