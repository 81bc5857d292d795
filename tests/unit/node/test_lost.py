"""What a server has acknowledged proves nothing of the next one."""

from collections.abc import Callable

import pytest

from compute_ctl.decisions.model import AckAnswer, AckMessage
from compute_ctl.node import Node
from tests.support.clock import FakeClock
from tests.support.fakes import IdlePostgres
from tests.unit.node.test_reload_reports import generation


def _fails_to_start(node: Node) -> None:
    node.start_failed("no", node.config.written.marker if node.config.written else None)


@pytest.mark.parametrize("ends", [Node.postgres_lost, _fails_to_start])
def test_an_acknowledgement_is_forgotten_with_its_server(ends: Callable[[Node], None]) -> None:
    """Also of one that ended before it accepted connections."""
    node, written = Node(clock=FakeClock(), postgres=IdlePostgres()), generation(1)
    node.now_written(written)
    message = AckMessage(marker=str(written.marker), map_sha256="")
    assert AckAnswer.TAKEN == node.acknowledge(message)
    assert node.acks.latest is not None

    ends(node)

    assert node.acks.latest is None
