"""Evidence against nodes, and the guard rails of acting on it."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compute_ctl.decisions.pacing import BESIDE_LONG_POLL_S
from control_plane.decisions import verdicts
from control_plane.decisions.evidence import UPHELD_S, Evidence, NodeEvidence
from control_plane.decisions.model import (
    HistoryEvent,
    NodeList,
    StorageNode,
    Suspicion,
    Verdict,
    VerdictState,
)
from control_plane.decisions.view_state import Moment
from tests.unit.control_plane.records import NOW, node, nodes

NODES = nodes(1, 2, 3)


def against(endpoint: str = "ps-1:6400", trouble: str = "dead", **more: Any) -> Suspicion:
    """Return a suspicion against a pageserver."""
    fields = {"source": "pageserver", "endpoint": endpoint, "trouble": trouble, **more}
    return Suspicion(**fields)


def suspected(
    said: dict[str, tuple[float, Suspicion]], users: dict[int, set[str]], **more: Any
) -> list[NodeEvidence]:
    """Return what follows from what each compute said, and when."""
    evidence = Evidence()
    for compute_id, (at, suspicion) in said.items():
        evidence.report(compute_id, [suspicion], NODES, at)
    return evidence.suspected_nodes(users, **{"quorum": 2, "now": 10.0, **more})


@pytest.mark.parametrize(
    ("said", "users", "expected"),
    [
        ({"a": (9.0, against())}, {1: {"a", "b"}}, set()),
        ({"a": (9.0, against())}, {1: {"a"}}, {"a"}),
        ({"a": (9.0, against())}, {}, set()),
        (
            {"a": (9.0, against()), "b": (5.0, against(trouble="silent"))},
            {1: {"a", "b"}},
            {"a", "b"},
        ),
        ({"a": (9.0, against()), "b": (4.9, against())}, {1: {"a", "b"}}, set()),
        ({"a": (9.0, against()), "b": (9.0, against("ps-2:6400"))}, {1: {"a", "b"}}, set()),
        ({"a": (9.0, against()), "b": (9.0, against())}, {1: {"a", "c"}}, set()),
        ({"a": (9.0, against()), "b": (9.0, against(trouble="wrong"))}, {1: {"a", "b"}}, set()),
        ({"a": (9.0, against()), "b": (9.0, against(source="primary"))}, {1: {"a", "b"}}, set()),
        ({"a": (9.0, against()), "b": (9.0, against("elsewhere:1"))}, {1: {"a", "b"}}, set()),
    ],
)
def test_quorum(
    said: dict[str, tuple[float, Suspicion]], users: dict[int, set[str]], expected: set[str]
) -> None:
    """Two of those that use the node, or all where fewer do, within 5 s, dead or silent."""
    found = suspected(said, users)
    assert ([expected] if expected else []) == [set(one.suspected_by) for one in found]


def test_what_is_taken_back_counts_no_more() -> None:
    """The next report replaces what was said; a compute that is deleted says nothing."""
    evidence = Evidence()
    evidence.report("a", [against()], NODES, 1.0)
    assert evidence.any(2.0)
    evidence.report("a", [], NODES, 2.0)
    assert not evidence.any(2.0)
    evidence.report("a", [against()], NODES, 3.0)
    evidence.forget("a")
    assert not evidence.any(3.0)


def test_a_compute_that_goes_on_asking_upholds_it() -> None:
    """Its report says it once; two computes need not meet the trouble at the same time."""
    said = {"a": (1.0, against()), "b": (9.0, against())}
    assert [] == suspected(said, {1: {"a", "b"}})
    assert 1 == len(suspected(said, {1: {"a", "b"}}, upheld={"a": 8.0}))
    assert [] == suspected(said, {1: {"a", "b"}}, upheld={"a": 0.9})
    later = {"a": 39.9, "b": 30.0}
    assert 1 == len(suspected(said, {1: {"a", "b"}}, upheld=later, now=30.0 + UPHELD_S))
    assert [] == suspected(said, {1: {"a", "b"}}, upheld=later, now=30.1 + UPHELD_S)


def test_who_is_in_trouble_asks_often_enough_to_be_believed() -> None:
    """Beside a long poll, too, where the pauses are longest; a request and its answer take time."""
    assert UPHELD_S > 1.2 * max(BESIDE_LONG_POLL_S)


def test_ipv6_endpoints_with_and_without_brackets() -> None:
    """The daemon writes none."""
    known = NodeList(nodes=(node(1, "[fd00::7]"), node(2, "fd00::8")))
    for endpoint, number in (("fd00::7:6400", 1), ("[fd00::8]:6400", 2), ("fd00::8:6400", 2)):
        evidence = Evidence()
        evidence.report("a", [against(endpoint)], known, 1.0)
        (found,) = evidence.suspected_nodes({1: {"a"}, 2: {"a"}}, quorum=2, now=1.0)
        assert number == found.node_id


@settings(deadline=None)
@given(
    st.dictionaries(st.sampled_from("abcde"), st.sampled_from([1, 2, 3])),
    st.dictionaries(st.sampled_from([1, 2, 3]), st.sets(st.sampled_from("abcde"))),
    st.integers(1, 4),
)
def test_no_verdict_without_quorum(
    said: dict[str, int], users: dict[int, set[str]], quorum: int
) -> None:
    """Only users count, each once, whatever is said."""
    evidence = {one: (9.0, against(f"ps-{number}:6400")) for one, number in said.items()}
    for found in suspected(evidence, users, quorum=quorum):
        using = users[found.node_id]
        assert found.suspected_by <= using & {it for it in said if said[it] == found.node_id}
        assert 0 < min(quorum, len(using)) <= len(found.suspected_by)


def refusal(listed: list[StorageNode], **more: Any) -> str:
    """Return why node 1 may not be declared offline."""
    known: dict[str, Any] = {"nodes_age_s": 1.0, "acts_age_s": ()}
    return verdicts.refusal(1, listed, **{**known, "others_answer": (2, 2), **more})


@pytest.mark.parametrize(
    ("listed", "more", "expected"),
    [
        ([node(1), node(2), node(3)], {}, ""),
        ([node(1), node(2), node(3)], {"nodes_age_s": 5.1}, "the list of nodes is 5 s old"),
        ([node(2)], {}, "node 1 is not in the storage controller's list"),
        ([node(1, availability="Offline"), node(2)], {}, "node 1 is Offline already"),
        ([node(1, availability="WarmingUp"), node(2)], {}, "node 1 is WarmingUp already"),
        (
            [node(1, scheduling="PauseForRestart"), node(2)],
            {},
            "node 1 is under PauseForRestart: perhaps it is restarted on purpose",
        ),
        (
            [node(1), node(2), node(3)],
            {"acts_age_s": (90.0, 50.0)},
            "a node was declared offline 50 s ago",
        ),
        ([node(1), node(2), node(3)], {"acts_age_s": (60.0,)}, ""),
        (
            [node(1), node(2, availability="Offline"), node(3)],
            {},
            "1 of 3 nodes are offline, 1 may be",
        ),
        ([node(1)], {}, "no other node takes shards"),
        ([node(1), node(2, scheduling="Pause")], {}, "no other node takes shards"),
        ([node(1), node(2, scheduling="Filling")], {}, ""),
        (
            [node(1), node(2), node(3)],
            {"others_answer": (0, 2)},
            "only 0 of 2 other nodes answer: perhaps it is we who are cut off",
        ),
        (
            [node(1), node(2), node(3), node(4)],
            {"others_answer": (1, 3)},
            "only 1 of 3 other nodes answer: perhaps it is we who are cut off",
        ),
        ([node(1), node(2), node(3)], {"others_answer": (1, 2)}, ""),
    ],
)
def test_guard_rails(listed: list[StorageNode], more: dict[str, Any], expected: str) -> None:
    """Each of them, with its reason."""
    assert expected == refusal(listed, **more)


def test_what_was_done_is_read_from_the_history() -> None:
    """An intent counts for a minute, unless it was withdrawn.

    One of which nothing may have come does not keep its own node from another try.
    """

    def event(kind: str, node_id: int, age_s: float, *, acted: bool = False) -> HistoryEvent:
        at = NOW - timedelta(seconds=age_s)
        state = VerdictState.ACTED if acted else VerdictState.FAILED
        verdict = Verdict(node_id=node_id, at=at, suspected_by=(), users=1, probes=(), state=state)
        told = verdict if kind == "verdict" else None
        return HistoryEvent(at=at, kind=kind, text="", node_id=node_id, verdict=told)

    history = [
        event(verdicts.INTENT, 1, 81),
        event(verdicts.INTENT, 2, 50),
        event("verdict", 2, 41, acted=True),
        event(verdicts.INTENT, 3, 40),
        event(verdicts.WITHDRAWN, 3, 30),
        event(verdicts.INTENT, 4, 20),
        event("verdict", 4, 19),
        event(verdicts.INTENT, 6, 18),
        event(verdicts.INTENT, 5, -3600),
    ]
    dated = [(one, Moment(monotonic=1000.0, wall=NOW)) for one in history]
    assert [41, 19, 0, 0] == verdicts.acts_age_s(dated, 1000.0, node_id=2)
    assert [41, 19, 0, 0] == verdicts.acts_age_s(dated, 1000.0, node_id=3)
    assert [41, 0, 0] == verdicts.acts_age_s(dated, 1000.0, node_id=4)
    assert [41, 19, 0] == verdicts.acts_age_s(dated, 1000.0, node_id=5)


@pytest.mark.parametrize("set_by_s", [-86_400, -30, 0, 30, 86_400])
def test_a_clock_that_is_set_changes_no_age(set_by_s: float) -> None:
    """An act counts for a minute after it, not less, and not until the clock is there again."""
    acted = Verdict(
        node_id=1, at=NOW, suspected_by=(), users=1, probes=(), state=VerdictState.ACTED
    )
    learned = Moment(monotonic=1000.0, wall=NOW)
    later = Moment(monotonic=1010.0, wall=NOW + timedelta(seconds=10 + set_by_s))
    history = [
        (HistoryEvent(at=NOW, kind=verdicts.INTENT, text="", node_id=1), learned),
        (HistoryEvent(at=NOW, kind="verdict", text="", node_id=1, verdict=acted), learned),
        (HistoryEvent(at=later.wall, kind=verdicts.INTENT, text="", node_id=2), later),
    ]
    assert [59, 29] == verdicts.acts_age_s(history, 1059.0, node_id=1)
    assert [30] == verdicts.acts_age_s(history, 1060.0, node_id=1)


def test_an_act_of_the_future_is_one_of_the_start() -> None:
    """The clock was set back while the control plane was down: it acts again after a minute."""
    acted = Verdict(
        node_id=1, at=NOW, suspected_by=(), users=1, probes=(), state=VerdictState.ACTED
    )
    started = Moment(monotonic=1000.0, wall=NOW - timedelta(days=1))
    history = [
        (HistoryEvent(at=NOW, kind=verdicts.INTENT, text="", node_id=1), started),
        (HistoryEvent(at=NOW, kind="verdict", text="", node_id=1, verdict=acted), started),
    ]
    assert [5] == verdicts.acts_age_s(history, 1005.0, node_id=2)
    assert [] == verdicts.acts_age_s(history, 1060.0, node_id=2)


@settings(deadline=None)
@given(st.integers(1, 12), st.lists(st.tuples(st.integers(1, 12), st.floats(0, 40)), max_size=30))
def test_the_budget_is_never_exceeded(count: int, tries: list[tuple[int, float]]) -> None:
    """At most a third of the nodes, or one, and one in 60 s, whatever is asked for."""
    offline: set[int] = set()
    acts: list[float] = []
    now = 0.0
    for number, pause in tries:
        now += pause
        listed = [
            node(it, availability="Offline" if it in offline else "Active")
            for it in range(1, count + 1)
        ]
        said = verdicts.refusal(
            number,
            listed,
            nodes_age_s=0.0,
            acts_age_s=[now - at for at in acts],
            others_answer=(1, 1),
        )
        if not said:
            offline.add(number)
            acts.append(now)
    assert max(1, count // 3) >= len(offline)
    assert all(later - earlier >= 60 for earlier, later in pairwise(acts))
