"""What computes suspect becomes a verdict, and what it does is the operator's choice."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from devstack.compute import TENANT
from devstack.stack import ComputeNode, Stack
from tests.control_plane.conftest import StackFactory


@contextmanager
def reading(*computes: ComputeNode, within_s: float = 40.0) -> Iterator[None]:
    """Each compute reads a page after the block, which ends when all have got theirs."""
    sessions = [compute.postgres.connect() for compute in computes]
    try:
        for session in sessions:
            session.execute("create extension if not exists neon_refresh")
            session.execute("select neon_refresh.read_page('pg_class', 0)")
        yield
        query = "select neon_refresh.read_page('pg_class', 0)"
        readers = [threading.Thread(target=one.execute, args=[query]) for one in sessions]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join(within_s)
        assert not any(reader.is_alive() for reader in readers)
    finally:
        for session in sessions:
            session.close()


def settled_stack(make_stack: StackFactory, *flags: str, offline_after: float) -> Stack:
    """Three pageservers and two computes, the tenant on the first."""
    stack = make_stack(nodes=3, options=flags, offline_after=offline_after)
    stack.add_compute("one")
    stack.add_compute("two")
    stack.wait_settled()
    return stack


def test_observe(make_stack: StackFactory) -> None:
    """A verdict is shown and changes nothing; the controller finds out by itself, later."""
    stack = settled_stack(make_stack, offline_after=5.0)
    with reading(*stack.computes.values()):
        stack.pageservers[1].kill()
    stack.control_plane.wait("a verdict", "/v1/verdicts", lambda found: found["verdicts"])
    [verdict] = stack.control_plane.admin("GET", "/v1/verdicts").body["verdicts"]
    assert (1, "observed", ["one", "two"]) == (
        verdict["node_id"],
        verdict["state"],
        verdict["suspected_by"],
    )
    assert [1] != stack.controller.located(TENANT)


def test_act(make_stack: StackFactory) -> None:
    """The controller, which would wait for minutes, is told, and the computes go on."""
    stack = settled_stack(make_stack, "--evidence", "act", offline_after=300.0)
    with reading(*stack.computes.values()):
        stack.pageservers[1].kill()
    [verdict] = stack.control_plane.admin("GET", "/v1/verdicts").body["verdicts"]
    assert (1, "acted") == (verdict["node_id"], verdict["state"])
    assert "Offline" == stack.controller.availability(1)
    assert [1] != stack.controller.located(TENANT)
