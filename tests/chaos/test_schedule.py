"""The schedule is decided by the seed alone, and every kind of fault is in it."""

import pytest

from tests.chaos.actions import _ACTIONS
from tests.chaos.schedule import (
    BACK,
    CONTROL_PLANE,
    HEAL_LOST_POLL_S,
    HEAL_S,
    KINDS,
    Fault,
    Topology,
    heal_bound,
    plan,
)

CAST = Topology(pageservers=3, shards=4, disk=True)
MANY = range(1, 200)


def test_the_same_seed_plans_the_same() -> None:
    """A round is decided by seed and number, not by the rounds before it."""
    assert plan(7, 12, CAST) == plan(7, 12, CAST)
    assert plan(7, 12, CAST) != plan(7, 13, CAST)
    assert plan(7, 12, CAST) != plan(8, 12, CAST)


def test_a_round_as_it_is_today() -> None:
    """A seed in a report still means what it meant: this round of seed 1 is known."""
    first = plan(1, 1, CAST, seconds=1.0, faults=2).faults

    assert [
        "0.312 move tenant-0 for 0.518 by 2",
        "0.381 lie pageserver-1 for 0.505 wrong_type number 1",
        "0.739 move tenant-0 for 0.225 back",
    ] == [str(fault) for fault in first]


def test_faults_end_within_their_round() -> None:
    """Every fault begins and ends between the round's first and last second, in order."""
    for number in MANY:
        planned = plan(1, number, CAST, seconds=3.0)
        starts = [fault.at for fault in planned.faults]
        assert starts == sorted(starts)
        assert all(fault.at + fault.lasts <= 3.001 for fault in planned.faults)
        assert all(0 <= fault.at for fault in planned.faults)


def test_nothing_is_struck_twice_at_a_time() -> None:
    """While a process is down or stopped it is not killed again: a restart would be a lie."""
    groups = {kind.name: kind.group for kind in KINDS}
    for number in MANY:
        busy: dict[tuple[str, str], float] = {}
        for fault in plan(2, number, CAST, faults=20).faults:
            place = (groups[fault.kind], fault.target)
            if fault.kind != "move":  # the way back may come before the publication
                assert busy.get(place, 0.0) <= fault.at + 0.001
            busy[place] = fault.at + fault.lasts


def test_every_kind_comes_and_is_known_to_the_stage() -> None:
    """Every kind strikes every role it can, sooner or later; moves go back; all can be done."""
    planned = [fault for number in MANY for fault in plan(3, number, CAST).faults]

    assert {kind.name for kind in KINDS} == {fault.kind for fault in planned} == set(_ACTIONS)
    struck = {(fault.kind, fault.role) for fault in planned}
    assert {(kind.name, role) for kind in KINDS for role in kind.roles} == struck
    assert any(fault.kind == "move" and fault.to == BACK for fault in planned)
    targets = {fault.target for fault in planned}
    assert {"pageserver-0", "pageserver-2", "tenant-3"} < targets
    assert not {"pageserver-3", "tenant-4"} & targets


def test_a_disk_that_cannot_be_filled_is_left_alone() -> None:
    """Without a small disk no fault strikes it."""
    topology = Topology(pageservers=3, shards=4, disk=False)
    assert not any(
        fault.kind == "disk_full" for number in MANY for fault in plan(3, number, topology).faults
    )


@pytest.mark.parametrize(
    ("fault", "bound"),
    [
        (Fault(at=0, kind="half_open", target=CONTROL_PLANE), HEAL_LOST_POLL_S),
        (Fault(at=0, kind="half", target=CONTROL_PLANE, what="silence"), HEAL_LOST_POLL_S),
        (Fault(at=0, kind="half", target=CONTROL_PLANE, what="rst"), HEAL_S),
        (Fault(at=0, kind="half_open", target="pageserver-1"), HEAL_S),
    ],
)
def test_how_long_healing_may_take(fault: Fault, bound: float) -> None:
    """Only a long poll that dies unnoticed may take longer than the usual bound."""
    assert bound == heal_bound((fault,))
