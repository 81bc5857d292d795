"""What people see of the control plane, made from its state."""

from dataclasses import replace

import pytest
from msgspec.structs import replace as changed

from control_plane.decisions.compute_view import compute_view
from control_plane.decisions.fleet import Condition
from control_plane.decisions.fleet_views import (
    history_view,
    hooks_view,
    nodes_view,
    status_view,
)
from control_plane.decisions.model import (
    ComputeRecord,
    HistoryEvent,
    NodeList,
    PendingHook,
    Placement,
    Safekeeper,
    SafekeeperSet,
    TenantRecord,
)
from control_plane.decisions.overview import Overview
from control_plane.decisions.view_state import FleetState
from control_plane.decisions.views import ServiceView
from tests.support.fleet_state import (
    NOW,
    TENANT,
    WALL,
    ago,
    fleet,
    heard,
    node,
    record,
    report,
    suspicion,
)

SERVICE = ServiceView(version="1.0")


def computes(*records: ComputeRecord, **more: object) -> FleetState:
    """A state with these computes and nothing else, but *more*."""
    state = FleetState(computes={one.id: one for one in records})
    return replace(state, **more)  # type: ignore[arg-type] # each field has its own type


def test_counts_by_condition_add_up_and_name_every_condition() -> None:
    """Each condition has a number, 0 too; laggards are those alive that do not run with it."""
    view = status_view(Overview(fleet(100), NOW), SERVICE)

    expected = dict.fromkeys(Condition, 0) | {
        Condition.IN_SYNC: 85,
        Condition.SILENT: 12,
        Condition.APPLYING: 2,
        Condition.REFUSED: 1,
    }
    assert expected == view.computes
    assert 100 == view.total
    assert 3 == view.behind
    assert ago(190) == view.oldest_behind_since
    assert (3, 1) == (view.nodes, view.nodes_bad)
    assert (1, ago(3.2)) == (view.pending_hooks, view.oldest_hook_since)
    assert 88 == view.held_requests
    assert ago(3 * 3600) == view.started_at


def test_laggards_are_ordered_by_how_long_they_lag() -> None:
    """Who lags longest comes first; one for which nothing was ever published last."""
    state = computes(
        changed(record("b"), published_at=ago(10)),
        changed(record("a"), published_at=ago(10)),
        changed(record("c"), published_at=ago(600)),
        record("0", generation=0),
        record("fine"),
        heard={name: heard(report(6)) for name in "abc"} | {"fine": heard(report(7))},
    )

    view = Overview(state, NOW).laggards()

    assert ["c", "a", "b", "0"] == [row.id for row in view.computes]
    assert 4 == view.total


def test_a_laggard_tells_since_when_and_why() -> None:
    """The reason is the compute's own; since: when what it lacks was published."""
    refused = "setting work_mem: no such value"
    state = computes(
        record("a", tenant="t"),
        heard={"a": heard(report(6, outcome="rejected", reason=refused))},
    )

    row = Overview(state, NOW).row("a")

    assert Condition.REFUSED is row.condition
    assert ago(42) == row.since
    assert f"refuses generation 7: {refused}" == row.why
    assert (7, 6) == (row.published, row.applied)
    assert WALL == row.heard_at  # it has a request open


def test_a_silent_compute_tells_since_when() -> None:
    """One that is down is no laggard; it is told when it was last heard of, if ever."""
    state = computes(
        record("down"), record("never"), heard={"down": heard(report(6), ago_s=90, holds=0)}
    )
    overview = Overview(state, NOW)

    assert 0 == overview.laggards().total
    assert ago(90) == overview.row("down").since
    assert None is overview.row("never").since
    assert "nothing was heard" in overview.row("never").why


def test_an_incomplete_compute_says_what_is_missing() -> None:
    """Where the place of its tenant is unknown nothing can be published, and it says so."""
    overview = Overview(
        computes(record("a", generation=0, tenant="t"), incomplete=lambda _: "no place known"), NOW
    )

    row = overview.row("a")

    assert Condition.INCOMPLETE is row.condition
    assert "no place known" == row.why
    assert None is row.since


@pytest.mark.parametrize(
    "tenant",
    [
        TenantRecord(tenant_id="t", placement=Placement(nodes=(9,))),
        TenantRecord(
            tenant_id="t",
            placement=Placement(nodes=(1,)),
            safekeepers={"u": SafekeeperSet(generation=1, safekeepers=(Safekeeper(id=4),))},
        ),
    ],
    ids=["node", "safekeeper"],
)
def test_a_compute_with_an_unlisted_server_is_incomplete(tenant: TenantRecord) -> None:
    """What is published still names a place that the storage says is no more."""
    state = computes(
        record("a", tenant="t"),
        tenants={"t": tenant},
        nodes=NodeList(nodes=(node(1),)),
        heard={"a": heard(report(7))},
    )

    assert Condition.IN_SYNC is Overview(state, NOW).sweep.conditions["a"]
    told = replace(state, incomplete=lambda name: f"{name}: unknown")
    assert Condition.INCOMPLETE is Overview(told, NOW).sweep.conditions["a"]
    assert "a: unknown" == Overview(told, NOW).row("a").why


def test_whether_a_document_is_complete_is_asked_only_where_it_may_not_be() -> None:
    """To compose 10,000 documents for each look would cost seconds."""
    asked: list[str] = []
    state = replace(fleet(100), incomplete=lambda name: asked.append(name) or "")  # type: ignore[func-returns-value] # notes it

    _ = Overview(state, NOW).sweep

    assert [] == asked


def test_search_finds_parts_of_names_and_whole_tenants() -> None:
    """A query is a part of a name or a tenant; what is behind comes first."""
    overview = Overview(fleet(100), NOW)

    assert ["compute-00097"] == [one.id for one in overview.search("e-00097").computes]
    assert {TENANT.format(4)} == {
        one.tenant_id for one in overview.search(TENANT.format(4)).computes
    }
    refused = overview.search("", Condition.REFUSED)
    assert (1, ["compute-00099"]) == (refused.total, [one.id for one in refused.computes])
    first = overview.search(first=4)
    assert (100, 4) == (first.total, len(first.computes))
    assert ["compute-00097", "compute-00098", "compute-00099", "compute-00000"] == [
        one.id for one in first.computes
    ]


def test_nodes_with_trouble_come_first_with_suspects_and_verdict() -> None:
    """A node knows who suspects it, by whichever spelling of its endpoint, and its last verdict."""
    view = nodes_view(Overview(fleet(100), NOW))

    first = view.nodes[0]
    assert [2, 1, 3] == [row.id for row in view.nodes]
    assert [True, False, False] == [row.is_bad for row in view.nodes]
    assert ("Offline", 8, ("dead",)) == (first.availability, first.suspects, first.troubles)
    assert "compute-00097" in first.suspected_by
    assert ago(6) == first.suspected_since
    assert first.verdict is not None
    assert ago(5) == first.verdict.at
    assert 88 == sum(row.users for row in view.nodes)


def test_a_suspected_server_that_is_no_node_is_shown() -> None:
    """Stock servers have no nodes: the primary that a standby suspects is shown all the same."""
    primary = changed(suspicion(), source="primary", endpoint="db1:5432", trouble="silent")
    state = computes(record("a"), heard={"a": heard(report(7, primary))})

    (row,) = nodes_view(Overview(state, NOW)).nodes

    assert (None, "db1:5432", ("a",)) == (row.id, row.endpoint, row.suspected_by)
    assert row.is_bad


def test_a_compute_that_is_down_suspects_nobody() -> None:
    """What it said before it died counts no more."""
    state = computes(record("a"), heard={"a": heard(report(7, suspicion()), ago_s=90, holds=0)})

    assert () == nodes_view(Overview(state, NOW)).nodes


def test_hooks_are_ordered_by_age_and_cut() -> None:
    """The oldest comes first; the rest is counted."""
    hooks = [PendingHook(kind="notify-attach", tenant_id=str(at), since=at) for at in (9, 3, 5)]

    view = hooks_view(Overview(FleetState(pending_hooks=hooks), NOW), first=2)

    assert (3, ["3", "5"]) == (view.total, [one.tenant_id for one in view.first])
    assert NOW.at(3) == view.oldest_since


def test_history_is_newest_first_and_filtered() -> None:
    """Everything that is named must fit."""
    overview = Overview(fleet(100), NOW)

    assert ["moved", "hook", "verdict", "document"] == [
        one.kind for one in history_view(overview).events
    ]
    assert ["verdict"] == [one.kind for one in history_view(overview, node_id=2).events]
    some = history_view(overview, tenant_id=TENANT.format(1), first=1)
    assert (2, ["moved"]) == (some.total, [one.kind for one in some.events])


def test_the_view_of_a_compute_has_its_timeline_and_its_servers() -> None:
    """What happened to it and its tenant, and what it said, newest first; its shards."""
    said = HistoryEvent(at=ago(4.5), kind="suspects", text="node 2", compute_id="compute-00028")
    state = replace(fleet(100), recent={"compute-00028": [said]})

    view = compute_view(Overview(state, NOW), "compute-00028")

    assert ["moved", "hook", "suspects"] == [one.kind for one in view.timeline]
    assert [(2, "10.0.0.2:6400", "Offline")] == [
        (one.node_id, one.endpoint, one.availability) for one in view.shards
    ]
    assert "locate" == view.placement_source
    assert view.report is not None
    assert ago(3) == view.report.at


def test_the_view_of_a_compute_names_the_node_it_suspects() -> None:
    """The endpoint of a suspicion is looked up in the node list."""
    view = compute_view(Overview(fleet(100), NOW), "compute-00097")

    assert view.report is not None
    (one,) = view.report.suspicions
    assert (2, "dead", ago(6)) == (one.node_id, one.trouble, one.since)


def test_one_compute_is_shown_without_a_look_at_all() -> None:
    """Who asks for one, or for the history, does not pay for 10,000."""
    overview = Overview(fleet(100), NOW)

    compute_view(overview, "compute-00097")
    history_view(overview)

    assert "sweep" not in vars(overview)
