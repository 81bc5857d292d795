"""The storage controller stand-in: faults of its hooks, live migration, and two controllers."""

import shutil
from pathlib import Path

from tests.unit.devstack.clients import TENANT, TIMELINE, StreamClient, getpage
from tests.unit.devstack.storage_cluster import StorageCluster

OTHER = "11111111111111111111111111111111"


def test_migration(cluster: StorageCluster) -> None:
    """Both nodes serve until the control plane knows the new place; then the old one gives up."""
    cluster.add_pageservers(2)
    cluster.create(TENANT)
    cluster.receiver.default = 423
    mark = cluster.admin.mark()

    assert cluster.admin.migrate(TENANT, 2)
    cluster.admin.wait_event("hook_answered", status=423)
    for number in (1, 2):
        with StreamClient(cluster.pageservers[number].url) as client:
            assert client.ask(getpage()) is not None
    cluster.receiver.default = 200
    cluster.admin.wait_event("migration_ended", shard=TENANT, origin=1, node=2)
    cluster.wait_settled(TENANT)

    assert [1] == cluster.receiver.nodes[0]
    assert {2} == {node for nodes in cluster.receiver.nodes[1:] for node in nodes}
    steps = [
        (event["node"], event["mode"]) for event in cluster.admin.events("location_set", since=mark)
    ]
    assert [
        (1, "AttachedStale"),
        (2, "AttachedMulti"),
        (1, "Secondary"),
        (2, "AttachedSingle"),
        (1, "Detached"),
    ] == steps
    assert not cluster.admin.migrate(TENANT, 2)


def test_migration_from_a_node_that_dies(cluster: StorageCluster) -> None:
    """A migration whose notification is refused goes on once the old place is of no use."""
    cluster.add_pageservers(2)
    cluster.create(TENANT)
    cluster.receiver.default = 423
    cluster.admin.migrate(TENANT, 2)
    cluster.admin.wait_event("hook_answered", status=423)

    cluster.pageservers[1].kill()
    cluster.admin.wait_event("migration_ended", origin=1, node=2)

    assert not cluster.controller.settled(TENANT)
    cluster.receiver.default = 200
    cluster.wait_settled(TENANT)


def test_migration_that_is_forbidden(cluster: StorageCluster) -> None:
    """A fatal answer ends the migration, and the old place still serves."""
    cluster.add_pageservers(2)
    cluster.create(TENANT)
    cluster.receiver.script = [403]

    mark = cluster.admin.mark()
    cluster.admin.migrate(TENANT, 2)

    failed = cluster.admin.wait_event("reconcile_failed", since=mark)
    assert "refuses" in failed["reason"]
    assert [] == cluster.admin.events("location_set", since=mark, node=1, mode="Secondary")


def test_lost(cluster: StorageCluster) -> None:
    """A lost hook never arrives, and the controller does not know."""
    cluster.add_pageservers(2)
    cluster.create(TENANT)
    cluster.admin.set_fault("lost", count=1)

    cluster.controller.set_offline(1)
    cluster.wait_settled(TENANT)

    cluster.admin.wait_event("hook_lost")
    assert [[1]] == cluster.receiver.nodes
    assert [2] == cluster.controller.located(TENANT)


def test_doubled(cluster: StorageCluster) -> None:
    """The same body comes twice."""
    cluster.add_pageservers(1)
    cluster.admin.set_fault("doubled", count=1, delay_ms=50)

    cluster.create(TENANT)

    cluster.controller.wait("the copy", lambda: len(cluster.receiver.received) == 2)
    assert cluster.receiver.received[0] == cluster.receiver.received[1]
    answers = cluster.admin.events("hook_answered")
    assert [None, "doubled"] == [event.get("fault") for event in answers]


def test_late(cluster: StorageCluster) -> None:
    """A late hook comes after its delay, and is pending until then."""
    cluster.add_pageservers(2)
    cluster.create(TENANT)
    cluster.admin.set_fault("late", count=1, delay_ms=300)

    cluster.controller.set_offline(1)
    cluster.wait_settled(TENANT)

    attached = cluster.admin.wait_event("location_set", node=2)
    sent = cluster.admin.events("hook_sent")[-1]
    assert 0.3 <= sent["at"] - attached["at"]
    assert [[1], [2]] == cluster.receiver.nodes


def test_reordered(cluster: StorageCluster) -> None:
    """The older hook comes after the newer one, and ends with what is wrong."""
    cluster.add_pageservers(3)
    cluster.create(TENANT, attached=[1])
    cluster.admin.set_fault("reordered", count=1)

    cluster.admin.migrate(TENANT, 2)
    cluster.admin.wait_event("migration_ended", node=2)
    assert [[1]] == cluster.receiver.nodes
    cluster.admin.migrate(TENANT, 3)
    cluster.admin.wait_event("migration_ended", node=3)

    assert [[1], [3], [2]] == cluster.receiver.nodes
    assert [3] == cluster.controller.located(TENANT)


def test_reordered_tenants(cluster: StorageCluster) -> None:
    """A hook waits for the next one of its own tenant only."""
    cluster.add_pageservers(2)
    cluster.admin.set_fault("reordered", count=1)

    cluster.create(TENANT, attached=[1])
    cluster.create(OTHER, attached=[2])

    assert [[2]] == cluster.receiver.nodes


def test_newest_only(cluster: StorageCluster) -> None:
    """Moves that come while a hook is under way are told as one, the newest."""
    cluster.add_pageservers(2)
    cluster.create(TENANT, shard_count=4, attached=[1, 1, 1, 1])
    cluster.admin.set_fault("late", count=1, delay_ms=300)

    assert 200 == cluster.controller.set_offline(1)
    cluster.wait_settled(TENANT)

    assert 3 == len(cluster.receiver.nodes)
    assert [2, 2, 2, 2] == cluster.receiver.nodes[-1]
    assert 1 in cluster.receiver.nodes[1]


def test_cut_off(cluster: StorageCluster) -> None:
    """A controller without a network takes all nodes for dead, and tells nobody."""
    cluster.add_pageservers(2)
    cluster.create(TENANT)
    cluster.admin.set_fault("cut_off_nodes")
    cluster.admin.set_fault("cut_off_hooks")

    for node_id in (1, 2):
        cluster.admin.wait_event("availability_set", node=node_id, availability="Offline")
    assert [[1]] == cluster.receiver.nodes

    assert 2 == cluster.admin.clear_faults()
    cluster.wait_settled(TENANT)
    cluster.controller.wait(
        "healed", lambda: {n["availability"] for n in cluster.controller.nodes()} == {"Active"}
    )


def test_two_controllers_on_one_state(cluster: StorageCluster) -> None:
    """Both tell of their own view; neither takes a generation that the other has used."""
    cluster.add_pageservers(2)
    cluster.create(TENANT, attached=[1])
    first = cluster.controller
    second = cluster.make_controller(name="second")
    second.wait("told", lambda: [[1], [1]] == cluster.receiver.nodes)

    assert 200 == second.set_offline(1)
    second.wait("moved", lambda: second.settled(TENANT) and cluster.receiver.nodes[-1] == [2])
    assert 200 == first.set_offline(1)
    first.wait("moved as well", lambda: first.settled(TENANT) and len(cluster.receiver.nodes) == 4)

    generations = [
        controller.admin.stats()["tenants"][TENANT][TENANT] for controller in (second, first)
    ]
    assert [2, 3] == generations
    assert [[1], [1], [2], [2]] == cluster.receiver.nodes


def test_controller_on_a_copied_state(cluster: StorageCluster, tmp_path: Path) -> None:
    """A controller on an old copy tells of places that are past."""
    cluster.add_pageservers(2)
    cluster.create(TENANT, attached=[1])
    shutil.copy(tmp_path / "controller.json", tmp_path / "copy.json")
    cluster.admin.migrate(TENANT, 2)
    cluster.admin.wait_event("migration_ended", node=2)

    stale = cluster.make_controller(name="stale", state=tmp_path / "copy.json")

    assert [1] == stale.located(TENANT)
    stale.wait("told", lambda: [[1], [2], [1]] == cluster.receiver.nodes)


def test_safekeepers(cluster: StorageCluster) -> None:
    """A change goes through a joint configuration, each with its own generation."""
    cluster.add_pageservers(1)
    cluster.create(TENANT)
    for number in range(1, 5):
        cluster.admin.put_safekeeper(number, f"sk-{number}:5454")
    cluster.admin.create_timeline(TENANT, TIMELINE, [1, 2, 3])
    cluster.receiver.received.clear()

    cluster.admin.change_safekeepers(TENANT, TIMELINE, [4, 2, 3])
    cluster.controller.wait("both", lambda: len(cluster.receiver.received) == 2)

    assert {"/notify-safekeepers"} == {request.path for request in cluster.receiver.received}
    assert [(2, [1, 2, 3, 4]), (3, [2, 3, 4])] == [
        (body["generation"], [member["id"] for member in body["safekeepers"]])
        for body in cluster.receiver.bodies
    ]
    expected = (
        f'{{"tenant_id": "{TENANT}", "timeline_id": "{TIMELINE}", "generation": 3, "safekeepers":'
        ' [{"id": 2, "hostname": "sk-2:5454"}, {"id": 3, "hostname": "sk-3:5454"},'
        ' {"id": 4, "hostname": "sk-4:5454"}]}'
    )
    assert expected == cluster.receiver.received[-1].text


def test_safekeepers_that_stay_joint(cluster: StorageCluster) -> None:
    """A change can be left half done, and be finished by a second call."""
    cluster.add_pageservers(1)
    cluster.create(TENANT)
    for number in (1, 2):
        cluster.admin.put_safekeeper(number)
    cluster.admin.create_timeline(TENANT, TIMELINE, [1])
    cluster.receiver.received.clear()

    cluster.admin.change_safekeepers(TENANT, TIMELINE, [2], finish=False)
    cluster.controller.wait("joint", lambda: len(cluster.receiver.received) == 1)
    cluster.admin.change_safekeepers(TENANT, TIMELINE, [2])
    cluster.controller.wait("final", lambda: len(cluster.receiver.received) == 2)

    assert [2, 3] == [body["generation"] for body in cluster.receiver.bodies]
    assert [[1, 2], [2]] == [
        [member["id"] for member in body["safekeepers"]] for body in cluster.receiver.bodies
    ]
