"""The judge: a verdict needs a quorum and probes, and acting needs every guard rail."""

import asyncio
from contextlib import suppress

import pytest

from control_plane.decisions import verdicts
from control_plane.decisions.model import StorageNode, VerdictState
from control_plane.errors import BusyError, ControllerError
from control_plane.fleet import judge as judging
from control_plane.fleet import offline
from control_plane.fleet.judge import Judge
from devstack.wait import until
from tests.unit.control_plane.fleet.parts import Fleet, suspicion
from tests.unit.control_plane.records import node


async def two_computes() -> Fleet:
    """Return two computes on node 1, which is down."""
    fleet = await Fleet().with_compute("a")
    await fleet.with_compute("b")
    fleet.prober.down.add(1)
    for compute_id in "ab":
        fleet.report(compute_id)
    return fleet


async def judged(fleet: Fleet, judge: Judge) -> list[VerdictState]:
    """Let the judge look once at what both computes say, and return the verdicts."""
    running = asyncio.create_task(judge.run())
    for compute_id in "ab":
        fleet.report(compute_id, suspicion(1))
    await until("a verdict", lambda: fleet.registry.verdicts)
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
    return [verdict.state for verdict in fleet.registry.verdicts]


async def test_observe_records_and_does_nothing() -> None:
    """The verdict holds its evidence; the storage controller hears nothing."""
    fleet = await two_computes()
    assert [VerdictState.OBSERVED] == await judged(fleet, fleet.judge(act=False))
    assert [] == fleet.controller.offline
    (verdict,) = fleet.registry.verdicts
    assert (1, ("a", "b"), 2) == (verdict.node_id, verdict.suspected_by, verdict.users)
    assert 2 == len(verdict.probes)
    assert "verdict" == fleet.registry.history[-1].kind


async def test_act_tells_the_storage_controller() -> None:
    """The node is said to be offline."""
    fleet = await two_computes()
    assert [VerdictState.ACTED] == await judged(fleet, fleet.judge())
    assert [1] == fleet.controller.offline


async def test_one_of_two_is_no_quorum() -> None:
    """One compute may be cut off: nobody is probed."""
    fleet = await two_computes()
    judge = fleet.judge()
    fleet.report("a", suspicion(1))
    await judge.look()
    assert ([], []) == (list(fleet.registry.verdicts), fleet.prober.probed)


@pytest.mark.parametrize("answered", [0, 1])
async def test_one_answered_probe_is_life(answered: int) -> None:
    """The second probe saves a node whose first was lost."""
    fleet = await two_computes()
    fleet.prober.answers_after[1] = answered
    judge = fleet.judge()
    for compute_id in "ab":
        fleet.report(compute_id, suspicion(1))
    await judge.look()
    assert ([], []) == (list(fleet.registry.verdicts), fleet.controller.offline)
    assert answered + 1 == fleet.prober.probed.count(1)


async def test_who_is_cut_off_does_not_act() -> None:
    """Where no other node answers, the trouble is ours."""
    fleet = await two_computes()
    fleet.prober.down |= {2, 3}
    assert [VerdictState.REFUSED] == await judged(fleet, fleet.judge())
    assert "we who are cut off" in fleet.registry.verdicts[0].reason
    assert [] == fleet.controller.offline


async def test_an_old_list_of_nodes_is_not_acted_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether the node is offline already, and how many others are, is not known."""
    fleet = await two_computes()
    await fleet.reconciler.refresh_nodes()
    fleet.clock.now += 7

    async def silent() -> tuple[StorageNode, ...]:
        raise ControllerError("no answer")

    monkeypatch.setattr(fleet.controller, "nodes", silent)
    assert [VerdictState.REFUSED] == await judged(fleet, fleet.judge())
    assert "the list of nodes is 7 s old" == fleet.registry.verdicts[0].reason
    assert [] == fleet.controller.offline


async def test_a_background_operation_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """412 is no refusal for good."""
    monkeypatch.setattr(offline, "BUSY_PAUSE_S", 0.0)
    fleet = await two_computes()
    fleet.controller.refusals = [BusyError("drain"), BusyError("drain")]
    assert [VerdictState.ACTED] == await judged(fleet, fleet.judge())


async def test_one_that_does_not_end_is_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tries are counted."""
    monkeypatch.setattr(offline, "BUSY_PAUSE_S", 0.0)
    fleet = await two_computes()
    fleet.controller.refusals = [BusyError("drain")] * offline.BUSY_TRIES
    assert [VerdictState.REFUSED] == await judged(fleet, fleet.judge())
    assert [] == fleet.controller.offline


async def test_a_controller_that_fails_is_shown() -> None:
    """Its reason stands in the verdict."""
    fleet = await two_computes()
    fleet.controller.refusals = [ControllerError("HTTP status 500")]
    assert [VerdictState.FAILED] == await judged(fleet, fleet.judge())
    assert "HTTP status 500" == fleet.registry.verdicts[0].reason


async def test_the_same_outage_is_judged_once() -> None:
    """What is said again is no new verdict."""
    fleet = await two_computes()
    judge = fleet.judge(act=False)
    await judged(fleet, judge)
    fleet.clock.now += judging.REJUDGE_S + 1
    for compute_id in "ab":
        fleet.report(compute_id, suspicion(1))
    await judge.look()
    assert 1 == len(fleet.registry.verdicts)


async def test_a_node_that_lives_again_was_a_false_alarm() -> None:
    """It is shown and counted; Active alone may be a heartbeat from before."""
    fleet = await two_computes()
    judge = fleet.judge()
    await judged(fleet, judge)
    fleet.controller.set_availability(1, "Active")
    await judge.look()
    assert [VerdictState.ACTED] == [verdict.state for verdict in fleet.registry.verdicts]

    fleet.prober.down.clear()
    await judge.look()
    assert [VerdictState.ACTED, VerdictState.FALSE_ALARM] == [
        verdict.state for verdict in fleet.registry.verdicts
    ]
    assert 1 == judge.false_alarms


async def test_another_replica_judges() -> None:
    """Only who holds the lease decides."""
    fleet = await two_computes()
    assert await fleet.store.hold_lease(judging.LEASE, holder="other", ttl_s=60.0)
    for compute_id in "ab":
        fleet.report(compute_id, suspicion(1))
    judge = fleet.judge()
    for compute_id in "ab":
        fleet.report(compute_id, suspicion(1))
    await judge.look()
    assert ([], []) == (list(fleet.registry.verdicts), fleet.controller.offline)


async def test_after_a_restart_one_compute_is_no_quorum() -> None:
    """Those that were not heard of yet use the node as well."""
    fleet = await two_computes()
    fleet.restart()
    await fleet.registry.load()
    judge = fleet.judge()
    fleet.report("a", suspicion(1))
    await judge.look()
    assert [] == list(fleet.registry.verdicts)
    fleet.report("b", suspicion(1))
    await judge.look()
    assert [VerdictState.ACTED] == [verdict.state for verdict in fleet.registry.verdicts]


async def test_an_act_counts_over_a_restart() -> None:
    """At most one node in 60 s, also where nobody knows what came of it."""
    fleet = await two_computes()
    fleet.controller.listed += [node(number) for number in range(4, 10)]
    await fleet.registry.events.record(verdicts.INTENT, "node 2", node_id=2)
    fleet.restart()
    await fleet.registry.load()
    assert [VerdictState.REFUSED] == await judged(fleet, fleet.judge())
    assert "a node was declared offline 0 s ago" == fleet.registry.verdicts[0].reason


async def test_a_failed_act_is_tried_again() -> None:
    """It does not keep its own node from it."""
    fleet = await two_computes()
    fleet.controller.refusals = [ControllerError("HTTP status 500")]
    judge = fleet.judge()
    assert [VerdictState.FAILED] == await judged(fleet, judge)
    fleet.clock.now += judging.REJUDGE_S + 1
    for compute_id in "ab":
        fleet.report(compute_id, suspicion(1))
    await judge.look()
    assert [1] == fleet.controller.offline
