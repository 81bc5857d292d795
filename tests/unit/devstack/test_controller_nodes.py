"""The storage controller stand-in: what becomes of shards when nodes come and go, and it itself."""

import time

from tests.unit.devstack.clients import RECONNECT, TENANT, StreamClient, assert_closed, getpage
from tests.unit.devstack.storage_cluster import OFFLINE_AFTER, StorageCluster


def test_killed_node(cluster: StorageCluster) -> None:
    """A node that dies is Offline after the time for it; its shard is moved and told until 200."""
    cluster.add_pageservers(2)
    cluster.create(TENANT)
    cluster.receiver.script = [503, 429, 423]

    killed = time.monotonic()
    cluster.pageservers[1].kill()
    offline = cluster.admin.wait_event("availability_set", node=1, availability="Offline")
    cluster.controller.wait("the last answer", lambda: len(cluster.receiver.received) == 5)
    cluster.wait_settled(TENANT)

    lost = cluster.admin.wait_event("heartbeat_lost", node=1)
    assert killed < lost["at"] < offline["at"]
    assert OFFLINE_AFTER / 2 < offline["at"] - killed < OFFLINE_AFTER + 5
    assert [2] == cluster.controller.located(TENANT)
    assert [[1], [2], [2], [2], [2]] == cluster.receiver.nodes
    answers = cluster.admin.events("hook_answered", since=0)
    assert [200, 503, 429, 423, 200] == [answer["status"] for answer in answers]
    assert ["heartbeat", "heartbeat"] == [
        offline["why"],
        cluster.admin.wait_event("shard_moved", node=2)["why"],
    ]
    with StreamClient(cluster.pageservers[2].url) as client:
        assert client.ask(getpage()) is not None


def test_stopped_node(cluster: StorageCluster) -> None:
    """A node that is stopped goes Offline; when it goes on it has lost its shard."""
    cluster.add_pageservers(2)
    cluster.create(TENANT)
    with StreamClient(cluster.pageservers[1].url) as client:
        cluster.pageservers[1].pause()
        cluster.admin.wait_event("availability_set", node=1, availability="Offline")
        cluster.wait_settled(TENANT)
        assert [[1], [2]] == cluster.receiver.nodes

        cluster.pageservers[1].resume()
        cluster.admin.wait_event("location_set", node=1, mode="Detached")
        client.send(getpage())
        assert_closed(client, RECONNECT)


def test_slow_node(cluster: StorageCluster) -> None:
    """A node that is slow, but not longer than the deadline of a heartbeat, stays Active."""
    cluster.add_pageservers(2)
    cluster.create(TENANT)
    cluster.pageservers[1].admin.set_fault("slow", phase="http", delay_ms=100)

    cluster.controller.wait(
        "some heartbeats", lambda: cluster.pageservers[1].admin.stats()["faults"].get("slow", 0) > 5
    )

    assert "Active" == cluster.controller.availability(1)


def test_told_that_a_node_is_offline(cluster: StorageCluster) -> None:
    """A false Offline moves shards at once; the next heartbeat heals it, and they stay moved."""
    cluster.add_pageservers(2)
    cluster.create(TENANT)
    with StreamClient(cluster.pageservers[1].url) as client:
        assert client.ask(getpage()) is not None

        assert 200 == cluster.controller.set_offline(1)
        assert [2] == cluster.controller.located(TENANT)
        cluster.admin.wait_event("availability_set", node=1, availability="Active")
        cluster.wait_settled(TENANT)
        cluster.admin.wait_event("location_set", node=1, mode="Detached")

        client.send(getpage())
        assert_closed(client, RECONNECT)

    assert [2] == cluster.controller.located(TENANT)
    assert [[1], [2]] == cluster.receiver.nodes
    assert {"Active"} == {node["availability"] for node in cluster.controller.nodes()}


def test_the_only_node(cluster: StorageCluster) -> None:
    """Where no other node may take shards, nothing is moved."""
    cluster.add_pageservers(1)
    cluster.create(TENANT)

    assert 200 == cluster.controller.set_offline(1)

    assert [1] == cluster.controller.located(TENANT)
    cluster.admin.wait_event("availability_set", node=1, availability="Active")
    assert [[1]] == cluster.receiver.nodes


def test_unread_secondary(cluster: StorageCluster) -> None:
    """A warm copy does not serve, and is the first to be promoted."""
    cluster.add_pageservers(3)
    cluster.create(TENANT, secondaries=1, attached=[3])
    [secondary] = cluster.controller.call("GET", f"/control/v1/tenant/{TENANT}")[1]["shards"][0][
        "node_secondary"
    ]
    with StreamClient(cluster.pageservers[secondary].url) as client:
        client.send(getpage())
        assert_closed(client, RECONNECT)

    assert 200 == cluster.controller.set_offline(3)

    assert [secondary] == cluster.controller.located(TENANT)
    cluster.controller.wait("told", lambda: [[3], [secondary]] == cluster.receiver.nodes)


def test_restarted_pageserver(cluster: StorageCluster) -> None:
    """A pageserver that starts again in time asks for its shards and serves them."""
    cluster.add_pageservers(1)
    cluster.create(TENANT)
    generation = cluster.admin.stats()["tenants"][TENANT][TENANT]

    cluster.pageservers[1].kill()
    cluster.start_pageserver(1, again=True)

    with StreamClient(cluster.pageservers[1].url) as client:
        assert client.ask(getpage()) is not None
    assert generation + 1 == cluster.admin.stats()["tenants"][TENANT][TENANT]
    assert [] == cluster.admin.events("shard_moved", why="heartbeat")


def test_restarted_controller(cluster: StorageCluster) -> None:
    """A controller that starts again knows its state and tells the control plane of all tenants."""
    cluster.add_pageservers(2)
    cluster.create(TENANT)
    generations = cluster.admin.stats()["tenants"]
    cluster.controller.kill()

    cluster.controller = cluster.make_controller(name="again")

    assert [1] == cluster.controller.located(TENANT)
    cluster.controller.wait("told again", lambda: [[1], [1]] == cluster.receiver.nodes)
    assert generations == cluster.admin.stats()["tenants"]
