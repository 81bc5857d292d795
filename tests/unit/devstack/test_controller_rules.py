"""The storage controller stand-in: its pure rules, and its state file."""

import json
from pathlib import Path
from typing import Any

import pytest

from devstack.pageserver.locations import Locations, parse_location
from devstack.storage_controller import hook_rules, plan, schedule
from devstack.storage_controller.heartbeats import Heartbeats
from devstack.storage_controller.hook_rules import Remembered, Result
from devstack.storage_controller.model import (
    Availability,
    Location,
    Mode,
    Node,
    Scheduling,
    Shard,
    State,
    Timeline,
    new_tenant,
)
from devstack.storage_controller.state_file import StateFile, StateFileError
from tests.unit.devstack.clients import TENANT, TIMELINE

ACTIVE, OFFLINE, WARMING_UP = Availability.ACTIVE, Availability.OFFLINE, Availability.WARMING_UP


def node(number: int, **fields: Any) -> Node:
    """A node that answers."""
    return Node(
        id=number,
        listen_http_addr="h",
        listen_http_port=1,
        listen_pg_addr="h",
        listen_pg_port=2,
        **fields,
    )


def state_of(nodes: int, **tenant: Any) -> tuple[State, list[Shard]]:
    """Nodes 1, 2, … and one tenant."""
    state = State(nodes={number: node(number) for number in range(1, nodes + 1)})
    made = state.tenants[TENANT] = new_tenant(TENANT, **tenant)
    return state, made.shards


@pytest.mark.parametrize(
    ("before", "answers", "after"),
    [
        (ACTIVE, [(0, True), (5, False), (29.9, False)], ACTIVE),
        (ACTIVE, [(0, True), (5, False), (30, False)], OFFLINE),
        (ACTIVE, [(0, True), (29, False), (31, True), (60.9, False)], ACTIVE),
        (OFFLINE, [(0, True)], ACTIVE),
        (OFFLINE, [(0, False)], OFFLINE),
        (ACTIVE, [(0, False)], OFFLINE),
        (WARMING_UP, [(0, False), (29, False)], WARMING_UP),
        (WARMING_UP, [(0, False), (30, False)], OFFLINE),
        (WARMING_UP, [(0, True)], ACTIVE),
    ],
)
def test_heartbeats(
    before: Availability, answers: list[tuple[float, bool]], after: Availability
) -> None:
    """One answer makes Active; only a silence of 30 s makes Offline."""
    heartbeats = Heartbeats(offline_after=30, warming_up=30)
    found = before
    for now, answered in answers:
        found = heartbeats.record(1, answered=answered, availability=found, now=now)
    assert after is found


@pytest.mark.parametrize(
    ("statuses", "result", "retried"),
    [
        ((200, 201, 204), Result.OK, False),
        ((423,), Result.BUSY, False),
        ((429,), Result.SLOW_DOWN, True),
        ((502, 503, 504), Result.UNAVAILABLE, True),
        ((400, 401, 403), Result.FATAL, False),
        ((404, 409, 412, 500, 302), Result.UNEXPECTED, False),
    ],
)
def test_results(statuses: tuple[int, ...], result: Result, *, retried: bool) -> None:
    """Each status has its meaning and its retry."""
    assert {result} == {hook_rules.result_of(status) for status in statuses}
    assert retried is result.retried


def test_pauses() -> None:
    """Eleven tries take 14.94 s of pauses; a migration waits up to 10 s."""
    assert 14.94 == round(sum(map(hook_rules.pause, range(hook_rules.TRIES - 1))), 2)
    assert [0, 2, 4, 8, 10, 10] == [hook_rules.migration_pause(number) for number in range(6)]


def test_attach_body() -> None:
    """Nothing is sent before every shard has a place; the shards are sorted."""
    tenant = new_tenant(TENANT, shard_count=2, stripe_size=4, preferred_az="az-1")

    assert hook_rules.attach_body(tenant, {1: 7}) is None
    assert {
        "tenant_id": TENANT,
        "preferred_az": "az-1",
        "stripe_size": 4,
        "shards": [{"node_id": 8, "shard_number": 0}, {"node_id": 7, "shard_number": 1}],
    } == hook_rules.attach_body(tenant, {1: 7, 0: 8})


def test_remembered() -> None:
    """Only what was applied is not sent again; an error forgets all."""
    body: dict[str, Any] = {"tenant_id": TENANT}
    memory = Remembered()
    for result, due in (
        (Result.OK, False),
        (Result.BUSY, True),
        (Result.OK, False),
        (Result.UNEXPECTED, True),
    ):
        memory.note(body, result)
        assert due is memory.due(body)
    memory.note(body, Result.OK)
    assert memory.due({"tenant_id": "another"})
    assert not memory.due(None)


def test_place_spreads_shards() -> None:
    """Four shards go to four nodes; the fifth to the one with the lowest number."""
    state, shards = state_of(4, shard_count=4)
    schedule.place(state, shards, 0)
    assert [1, 2, 3, 4] == [shard.attached for shard in shards]

    other = state.tenants["b" * 32] = new_tenant("b" * 32)
    schedule.place(state, other.shards, 0)
    assert 1 == other.shards[0].attached


def test_leave_prefers_the_warm_copy() -> None:
    """Of a node that is offline the shard goes to its warm copy, and keeps a place there."""
    state, [shard] = state_of(3, secondaries=1)
    shard.attached, shard.secondary = 1, [3]
    state.nodes[1].availability = OFFLINE

    [move] = schedule.leave(state, 1)

    assert (1, 3) == (move.origin, move.destination)
    assert (3, [1]) == (shard.attached, shard.secondary)


@pytest.mark.parametrize("scheduling", list(Scheduling)[2:])
def test_leave_without_a_place(scheduling: Scheduling) -> None:
    """Where no other node may be given shards nothing is moved."""
    state, [shard] = state_of(2)
    shard.attached = 1
    state.nodes[1].availability = OFFLINE
    state.nodes[2].scheduling = scheduling

    assert [] == schedule.leave(state, 1)
    assert 1 == shard.attached


def test_plan_of_a_move() -> None:
    """A shard is migrated from a node that answers, and attached where it does not."""
    state, [shard] = state_of(2)
    shard.attached, shard.generation = 2, 1
    shard.observed[1] = Location(mode=Mode.ATTACHED_SINGLE, generation=1)

    assert 1 == plan.migration_origin(shard, state.nodes)
    assert [(1, plan.DETACHED)] == plan.changes(shard, state.nodes)
    state.nodes[1].availability = OFFLINE
    assert plan.migration_origin(shard, state.nodes) is None
    assert [] == plan.changes(shard, state.nodes)
    assert plan.differs(shard, state.nodes)
    shard.observed[2] = shard.wanted
    assert not plan.differs(shard, state.nodes)
    shard.pending_notification = True
    assert plan.differs(shard, state.nodes)


def test_state_file(tmp_path: Path) -> None:
    """What was saved is loaded, but for availability and what was observed."""
    file = StateFile(tmp_path / "state.json")
    state, shards = state_of(1, shard_count=2, secondaries=1)
    shards[0].attached, shards[0].secondary = 1, [2]
    file.save_nodes(state.nodes[1])
    file.save_tenant(state.tenants[TENANT])
    file.save_safekeeper(4, "sk:1")
    timeline = Timeline(tenant_id=TENANT, timeline_id=TIMELINE, generation=2, members=[4])
    file.save_timeline(timeline)

    loaded = file.load()

    assert OFFLINE is loaded.nodes[1].availability
    assert state.tenants == loaded.tenants
    assert {4: "sk:1"} == loaded.safekeepers
    assert {(TENANT, TIMELINE): timeline} == loaded.timelines


def test_generation_of_two_controllers(tmp_path: Path) -> None:
    """A generation is used once, whoever takes it."""
    one, other = StateFile(tmp_path / "state.json"), StateFile(tmp_path / "state.json")
    shard, same = (Shard(tenant_id=TENANT, number=0, count=0) for _ in range(2))

    taken = [one.next_generation(shard), other.next_generation(same), one.next_generation(shard)]

    assert [1, 2, 3] == taken


@pytest.mark.parametrize("text", ["", "[]", "{", '{"nodes": {}}'])
def test_damaged_state_file(tmp_path: Path, text: str) -> None:
    """A file that is none is an error that names it."""
    (tmp_path / "state.json").write_text(text)
    with pytest.raises(StateFileError, match=r"state\.json"):
        StateFile(tmp_path / "state.json").load()


def test_locations_of_a_pageserver() -> None:
    """A generation never falls; attached modes serve, others do not."""
    locations = Locations()
    shard = f"{TENANT}-0102"

    def put(mode: str, generation: int | None) -> str:
        locations.put(parse_location(shard, {"mode": mode, "generation": generation}))
        state, owned = locations.serving(TENANT)
        return f"{state.value} {owned.describe()}"

    assert "active ['0102']" == put("AttachedMulti", 2)
    with pytest.raises(ValueError, match="Generation 1 is less than existing 2"):
        put("AttachedSingle", 1)
    assert "active ['0102']" == put("AttachedStale", 2)
    assert "secondary none" == put("Secondary", None)
    assert "detached none" == put("Detached", None)
    assert {"tenant_shards": []} == locations.describe()
    for wrong in ({"mode": "Attached"}, {"mode": "AttachedSingle"}, {"mode": None}):
        with pytest.raises(ValueError, match=r"Attached|None|generation"):
            parse_location(shard, wrong)
    with pytest.raises(ValueError, match="invalid tenant shard id"):
        parse_location("x", {"mode": "Detached"})
    assert json.dumps(locations.describe())
