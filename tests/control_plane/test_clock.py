"""The wall clock is set while the process runs: only the monotonic one tells what is old."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from devstack.compute import TENANT
from devstack.compute_control_plane import ComputeControlPlane
from devstack.stack import Stack
from devstack.wait import wait_until
from tests.control_plane.conftest import StackFactory
from tests.control_plane.test_verdicts import reading
from tests.support.wall_clock import WallClock

DAY_S = 86_400
BETWEEN_ACTS_S = 60.0


def verdicts(control_plane: ComputeControlPlane, node_id: int, state: str) -> list[str]:
    """The reasons of the verdicts on a node with that outcome."""
    found = control_plane.admin("GET", "/v1/verdicts").body["verdicts"]
    return [it["reason"] for it in found if (it["node_id"], it["state"]) == (node_id, state)]


def set_back_after_a_refusal(
    control_plane: ComputeControlPlane, node_id: int, clock: WallClock
) -> None:
    """Set the clock back once the node was left alone for the sake of the one before."""

    def refused() -> bool:
        reasons = verdicts(control_plane, node_id, "refused")
        return any(it.startswith("a node was declared offline") for it in reasons)

    wait_until("a refusal", refused, 60)
    clock.set_by(-DAY_S)


def kill_current(stack: Stack) -> int:
    """Kill the pageserver that the tenant is on; return its id."""
    [node_id] = stack.controller.located(TENANT)
    stack.pageservers[node_id].kill()
    return node_id


@pytest.mark.timeout(400)
def test_one_act_a_minute(make_stack: StackFactory, tmp_path: Path) -> None:
    """A clock set forward lets nobody act earlier; one that is set back, nobody later.

    Both are done while the minute runs.
    """
    clock = WallClock(tmp_path)
    stack = make_stack(
        nodes=6,
        options=["--evidence", "act"],
        offline_after=300.0,
        settings={"neon_refresh.query_cancel_after": "0"},
    )
    control_plane = stack.control_plane
    assert 0 == control_plane.stop()
    control_plane.argv = [*clock.command, *control_plane.argv]
    control_plane.start()
    stack.add_compute("one")
    stack.add_compute("two")
    stack.wait_settled()
    begun = time.monotonic()
    with reading(*stack.computes.values()):
        kill_current(stack)
    clock.set_by(DAY_S)
    with ThreadPoolExecutor() as pool, reading(*stack.computes.values(), within_s=180):
        node_id = kill_current(stack)
        set_back = pool.submit(set_back_after_a_refusal, control_plane, node_id, clock)
    set_back.result()
    assert BETWEEN_ACTS_S <= time.monotonic() - begun
    assert verdicts(control_plane, node_id, "acted")
