"""The storage controller stand-in as a process, over real pageservers and a receiver of hooks."""

import time

import pytest

from devstack.client import AdminError, exchange
from devstack.wait import wait_until
from tests.unit.devstack.clients import RECONNECT, TENANT, StreamClient, assert_closed, getpage
from tests.unit.devstack.controller_rig import OFFLINE_AFTER, ControllerRig
from tests.unit.devstack.plane_client import TOKEN


def test_created(rig: ControllerRig) -> None:
    """A new tenant is attached, can be read there, and the control plane is told in one body."""
    rig.add_pageservers(2)

    rig.create(TENANT, preferred_az="az-1")

    [request] = rig.receiver.received
    assert ("PUT", "/notify-attach", f"Bearer {TOKEN}") == (
        request.method,
        request.path,
        request.token,
    )
    expected = (
        f'{{"tenant_id": "{TENANT}", "preferred_az": "az-1", "stripe_size": null,'
        ' "shards": [{"node_id": 1, "shard_number": 0}]}'
    )
    assert expected == request.text
    with StreamClient(rig.pageservers[1].url) as client:
        assert client.ask(getpage()) is not None


def test_four_shards(rig: ControllerRig) -> None:
    """Shards are spread, and sent sorted with the stripe size once all have a place."""
    rig.add_pageservers(2)

    rig.create(TENANT, shard_count=4, stripe_size=1024)

    expected = {
        "tenant_id": TENANT,
        "preferred_az": None,
        "stripe_size": 1024,
        "shards": [
            {"node_id": 1, "shard_number": 0},
            {"node_id": 2, "shard_number": 1},
            {"node_id": 1, "shard_number": 2},
            {"node_id": 2, "shard_number": 3},
        ],
    }
    assert [expected] == rig.receiver.bodies
    assert ["0004", "0204"] == rig.pageservers[1].admin.stats()["shards"]


def test_one_shard_is_sent_as_unsharded(rig: ControllerRig) -> None:
    """A tenant of one shard that is counted has no stripe size in its notification."""
    rig.add_pageservers(1)

    rig.create(TENANT, shard_count=1)

    assert rig.receiver.bodies[0]["stripe_size"] is None


def test_locate_and_nodes(rig: ControllerRig) -> None:
    """The two answers that a control plane works with."""
    rig.add_pageservers(1)
    rig.create(TENANT)
    pageserver = rig.pageservers[1]
    addresses = {
        "listen_http_addr": "127.0.0.1",
        "listen_http_port": int(pageserver.http.rpartition(":")[2]),
        "listen_https_port": None,
        "listen_pg_addr": "127.0.0.1",
        "listen_pg_port": pageserver.port,
        "listen_grpc_addr": None,
        "listen_grpc_port": None,
    }

    assert [
        {
            "id": 1,
            "availability": "Active",
            "scheduling": "Active",
            "availability_zone_id": "az",
            **addresses,
        }
    ] == rig.controller.nodes()
    assert (
        200,
        {
            "shards": [{"shard_id": TENANT, "node_id": 1, **addresses}],
            "shard_params": {"count": 0, "stripe_size": 2048},
        },
    ) == rig.controller.call("GET", f"/debug/v1/tenant/{TENANT}/locate")
    assert 404 == rig.controller.call("GET", f"/debug/v1/tenant/{'0' * 32}/locate")[0]
    assert (200, {"id": 1}) == exchange(pageserver.http, "GET", "/v1/status")


def test_killed_node(rig: ControllerRig) -> None:
    """A node that dies is Offline after the time for it; its shard is moved and told until 200."""
    rig.add_pageservers(2)
    rig.create(TENANT)
    rig.receiver.script = [503, 429, 423]

    killed = time.monotonic()
    rig.pageservers[1].kill()
    offline = rig.admin.wait_event("availability_set", node=1, availability="Offline")
    rig.controller.wait("the last answer", lambda: len(rig.receiver.received) == 5)
    rig.wait_settled(TENANT)

    lost = rig.admin.wait_event("heartbeat_lost", node=1)
    assert killed < lost["at"] < offline["at"]
    assert OFFLINE_AFTER / 2 < offline["at"] - killed < OFFLINE_AFTER + 5
    assert [2] == rig.controller.located(TENANT)
    assert [[1], [2], [2], [2], [2]] == rig.receiver.nodes
    answers = rig.admin.events("hook_answered", since=0)
    assert [200, 503, 429, 423, 200] == [answer["status"] for answer in answers]
    assert ["heartbeat", "heartbeat"] == [
        offline["why"],
        rig.admin.wait_event("shard_moved", node=2)["why"],
    ]
    with StreamClient(rig.pageservers[2].url) as client:
        assert client.ask(getpage()) is not None


def test_busy_is_not_applied(rig: ControllerRig) -> None:
    """423 ends the tries of one notification, stays pending, and the same body is sent again."""
    rig.add_pageservers(1)
    rig.receiver.default = 423

    rig.admin.create_tenant(TENANT)

    rig.admin.wait_event("hook_answered", status=423, result="busy")
    wait_until("pending", lambda: [TENANT] == rig.admin.stats()["pending"])
    assert not rig.controller.settled(TENANT)
    rig.receiver.default = 200
    rig.wait_settled(TENANT)
    assert rig.receiver.bodies[0] == rig.receiver.bodies[-1]
    assert 2 <= len(rig.receiver.bodies)


def test_silent_control_plane(rig: ControllerRig) -> None:
    """A request without an answer ends by its deadline and is tried again."""
    rig.add_pageservers(1)
    rig.receiver.script = [rig.receiver.SILENCE]

    rig.create(TENANT)

    assert [None, 200] == [event["status"] for event in rig.admin.events("hook_answered")]
    assert ["request failed", "ok"] == [e["result"] for e in rig.admin.events("hook_answered")]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 500])
def test_refusals_are_not_retried_at_once(rig: ControllerRig, status: int) -> None:
    """What the control plane refuses is tried again by the background loop only."""
    rig.add_pageservers(2)
    rig.create(TENANT)
    rig.receiver.script = [status]

    assert 200 == rig.controller.set_offline(1)
    rig.controller.wait("both", lambda: len(rig.receiver.received) == 3)

    attempts = [event["attempt"] for event in rig.admin.events("hook_sent")]
    assert [0, 0, 0] == attempts


def test_told_that_a_node_is_offline(rig: ControllerRig) -> None:
    """A false Offline moves shards at once; the next heartbeat heals it, and they stay moved."""
    rig.add_pageservers(2)
    rig.create(TENANT)
    with StreamClient(rig.pageservers[1].url) as client:
        assert client.ask(getpage()) is not None

        assert 200 == rig.controller.set_offline(1)
        assert [2] == rig.controller.located(TENANT)
        rig.admin.wait_event("availability_set", node=1, availability="Active")
        rig.wait_settled(TENANT)
        rig.admin.wait_event("location_set", node=1, mode="Detached")

        client.send(getpage())
        assert_closed(client, RECONNECT)

    assert [2] == rig.controller.located(TENANT)
    assert [[1], [2]] == rig.receiver.nodes
    assert {"Active"} == {node["availability"] for node in rig.controller.nodes()}


def test_the_only_node(rig: ControllerRig) -> None:
    """Where no other node may take shards, nothing is moved."""
    rig.add_pageservers(1)
    rig.create(TENANT)

    assert 200 == rig.controller.set_offline(1)

    assert [1] == rig.controller.located(TENANT)
    rig.admin.wait_event("availability_set", node=1, availability="Active")
    assert [[1]] == rig.receiver.nodes


def test_restarted_pageserver(rig: ControllerRig) -> None:
    """A pageserver that starts again in time asks for its shards and serves them."""
    rig.add_pageservers(1)
    rig.create(TENANT)
    generation = rig.admin.stats()["tenants"][TENANT][TENANT]

    rig.pageservers[1].kill()
    rig.start_pageserver(1, again=True)

    with StreamClient(rig.pageservers[1].url) as client:
        assert client.ask(getpage()) is not None
    assert generation + 1 == rig.admin.stats()["tenants"][TENANT][TENANT]
    assert [] == rig.admin.events("shard_moved", why="heartbeat")


def test_restarted_controller(rig: ControllerRig) -> None:
    """A controller that starts again knows its state and tells the control plane of all tenants."""
    rig.add_pageservers(2)
    rig.create(TENANT)
    rig.controller.kill()

    rig.controller = rig.make_controller(name="again")

    assert [1] == rig.controller.located(TENANT)
    rig.controller.wait("told again", lambda: [[1], [1]] == rig.receiver.nodes)


def test_unknown_tenant_at_creation(rig: ControllerRig) -> None:
    """A control plane that does not know a new tenant yet does not hold it up."""
    rig.add_pageservers(1)
    rig.receiver.script = [404]

    rig.create(TENANT)

    assert [404] == [event["status"] for event in rig.admin.events("hook_answered")]


def test_bad_orders(rig: ControllerRig) -> None:
    """A bad order is refused with a reason, and nothing changes."""
    rig.add_pageservers(1)
    path = "/control/v1/node/1/config"
    for body, status in (
        ({"node_id": 2, "availability": "Offline"}, 400),
        ({"availability": "Offline"}, 400),
        ({"node_id": 1, "availability": "Away"}, 400),
        ({"node_id": 1, "scheduling": "never"}, 400),
    ):
        found, answer = rig.controller.call("PUT", path, body)
        assert (status, ["msg"]) == (found, list(answer))
    body = {"node_id": 9, "availability": "Offline"}
    assert 404 == rig.controller.call("PUT", "/control/v1/node/9/config", body)[0]
    for method, admin_path, order in (
        ("PUT", "/fault", {"kind": "nonsense"}),
        ("PUT", f"/tenants/{TENANT}", {"shard_count": -1}),
        ("PUT", f"/tenants/{TENANT}", {"colour": "red"}),
        ("PUT", "/nodes/1", {}),
    ):
        with pytest.raises(AdminError) as caught:
            rig.admin._call(method, admin_path, order)
        assert 400 == caught.value.status
    assert [] == rig.receiver.received
    assert "Active" == rig.controller.availability(1)


def test_unread_secondary(rig: ControllerRig) -> None:
    """A warm copy does not serve, and is the first to be promoted."""
    rig.add_pageservers(3)
    rig.create(TENANT, secondaries=1, attached=[3])
    [secondary] = rig.controller.call("GET", f"/control/v1/tenant/{TENANT}")[1]["shards"][0][
        "node_secondary"
    ]
    with StreamClient(rig.pageservers[secondary].url) as client:
        client.send(getpage())
        assert_closed(client, RECONNECT)

    assert 200 == rig.controller.set_offline(3)

    assert [secondary] == rig.controller.located(TENANT)
    rig.controller.wait("told", lambda: [[3], [secondary]] == rig.receiver.nodes)
