"""In sync means that a new session runs with what is desired, and not less."""

from datetime import UTC, datetime
from typing import Any

from compute_ctl.decisions.model import AckMessage, Desired, Written
from compute_ctl.decisions.proof import Complaint, Proof, Verdict
from compute_ctl.document.generation import Marker
from compute_ctl.node import Node
from tests.support.clock import FakeClock
from tests.support.fakes import AbsentPostgres

AT = datetime(2026, 1, 1, tzinfo=UTC)
FULL, UPSTREAM = Verdict(proof=Proof.FULL), Verdict(proof=Proof.UPSTREAM, blind=True)


def write(node: Node, number: int, rest: str) -> None:
    """Have generation *number* written, with *rest*."""
    marker = Marker.of(generation=number, nonce="0" * 32, body=f"{rest}{number}")
    node.config.desired = Desired(content_sha256=f"{number}", version=None, at=AT, source="file")
    node.now_written(
        Written(
            marker=marker, rest=rest, upstream="", at=AT, content_sha256=f"{number}", map_sha256="m"
        )
    )


def acknowledge(node: Node, map_sha256: str = "m") -> None:
    """Have the worker acknowledge what is written."""
    assert node.config.written is not None
    node.acknowledge(AckMessage(marker=str(node.config.written.marker), map_sha256=map_sha256))


def shown(node: Node) -> tuple[bool, Proof]:
    """Return whether *node* is in sync, and how much is proven."""
    config = node.snapshot().config
    return config.in_sync, config.proof


def make_node() -> Node:
    """Return a node of which the first generation is proven in full."""
    node = Node(clock=FakeClock(), postgres=AbsentPostgres())
    write(node, 1, "a")
    acknowledge(node)
    node.proved(FULL)
    return node


async def test_new_servers_need_the_worker_only() -> None:
    """The rest has been run by a session already: an acknowledgement proves the servers."""
    node = make_node()
    assert (True, Proof.FULL) == shown(node)
    write(node, 2, "a")
    assert (False, Proof.NONE) == shown(node)
    node.proved(UPSTREAM)
    assert (True, Proof.UPSTREAM) == shown(node)


async def test_a_new_rest_needs_a_session() -> None:
    """Until one has answered it is proven for the servers only, and the reason is told."""
    node = make_node()
    write(node, 2, "b")
    node.server.probe_error = "no answer"
    node.proved(UPSTREAM)
    assert (False, Proof.UPSTREAM) == shown(node)
    expected = "proven for the servers only, no new session has answered yet: no answer"
    assert expected == node.snapshot().config.not_in_force
    node.proved(FULL)
    assert (True, Proof.FULL) == shown(node)
    node.proved(UPSTREAM)
    assert (True, Proof.FULL) == shown(node), "silence takes nothing back"


async def test_refused_sessions_are_not_in_sync() -> None:
    """Whoever keeps them out."""
    node = make_node()
    node.server.login_refused = "no such library"
    assert (False, Proof.UPSTREAM) == shown(node)


async def test_drift_is_not_over_by_silence() -> None:
    """What a session has seen holds until one sees something else."""
    node = make_node()
    drift: dict[str, Any] = {"shadowed": (Complaint(name="primary_conninfo", reason="overridden"),)}
    node.looked(Verdict(proof=Proof.NONE, lost=True, **drift))
    assert (False, Proof.NONE) == shown(node)
    node.proved(UPSTREAM)
    assert (False, Proof.NONE) == shown(node)
    assert "primary_conninfo: overridden" == node.snapshot().config.not_in_force
    node.proved(FULL)
    assert (True, Proof.FULL) == shown(node)


async def test_another_list_is_not_in_sync() -> None:
    """The worker says by itself that it runs with other servers than those of the file."""
    node = make_node()
    acknowledge(node, "another")
    assert (False, Proof.NONE) == shown(node)
    acknowledge(node)
    assert (True, Proof.FULL) == shown(node)


async def test_who_reloads_beside_us_is_looked_at() -> None:
    """An acknowledgement that we did not ask for by a signal has a look made."""
    node = make_node()
    assert node.drift_checks.due_at > 1e9, "the one that we asked for"
    acknowledge(node)
    assert FakeClock.now == node.drift_checks.due_at
