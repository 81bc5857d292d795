"""The storage controller stand-in as a process, over real pageservers and a receiver of hooks."""

import pytest

from devstack.client import AdminError, exchange
from devstack.wait import wait_until
from tests.unit.devstack.clients import TENANT, StreamClient, getpage
from tests.unit.devstack.hook_receiver import TOKEN
from tests.unit.devstack.storage_cluster import StorageCluster


def test_created(cluster: StorageCluster) -> None:
    """A new tenant is attached, can be read there, and the control plane is told in one body."""
    cluster.add_pageservers(2)

    cluster.create(TENANT, preferred_az="az-1")

    [request] = cluster.receiver.received
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
    with StreamClient(cluster.pageservers[1].url) as client:
        assert client.ask(getpage()) is not None


def test_four_shards(cluster: StorageCluster) -> None:
    """Shards are spread, and sent sorted with the stripe size once all have a place."""
    cluster.add_pageservers(2)

    cluster.create(TENANT, shard_count=4, stripe_size=1024)

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
    assert [expected] == cluster.receiver.bodies
    assert ["0004", "0204"] == cluster.pageservers[1].admin.stats()["shards"]


def test_one_shard_is_sent_as_unsharded(cluster: StorageCluster) -> None:
    """A tenant of one shard that is counted has no stripe size in its notification."""
    cluster.add_pageservers(1)

    cluster.create(TENANT, shard_count=1)

    assert cluster.receiver.bodies[0]["stripe_size"] is None


def test_locate_and_nodes(cluster: StorageCluster) -> None:
    """The two answers that a control plane works with."""
    cluster.add_pageservers(1)
    cluster.create(TENANT)
    pageserver = cluster.pageservers[1]
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
    ] == cluster.controller.nodes()
    assert (
        200,
        {
            "shards": [{"shard_id": TENANT, "node_id": 1, **addresses}],
            "shard_params": {"count": 0, "stripe_size": 2048},
        },
    ) == cluster.controller.call("GET", f"/debug/v1/tenant/{TENANT}/locate")
    assert 404 == cluster.controller.call("GET", f"/debug/v1/tenant/{'0' * 32}/locate")[0]
    assert (200, {"id": 1}) == exchange(pageserver.http, "GET", "/v1/status")


def test_busy_is_not_applied(cluster: StorageCluster) -> None:
    """423 ends the tries of one notification, stays pending, and the same body is sent again."""
    cluster.add_pageservers(1)
    cluster.receiver.default = 423

    cluster.admin.create_tenant(TENANT)

    cluster.admin.wait_event("hook_answered", status=423, result="busy")
    wait_until("pending", lambda: [TENANT] == cluster.admin.stats()["pending"])
    assert not cluster.controller.settled(TENANT)
    cluster.receiver.default = 200
    cluster.wait_settled(TENANT)
    assert cluster.receiver.bodies[0] == cluster.receiver.bodies[-1]
    assert 2 <= len(cluster.receiver.bodies)


def test_silent_control_plane(cluster: StorageCluster) -> None:
    """A request without an answer ends by its deadline and is tried again."""
    cluster.add_pageservers(1)
    cluster.receiver.script = [cluster.receiver.SILENCE]

    cluster.create(TENANT)

    assert [None, 200] == [event["status"] for event in cluster.admin.events("hook_answered")]
    assert ["request failed", "ok"] == [e["result"] for e in cluster.admin.events("hook_answered")]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 500])
def test_refusals_are_not_retried_at_once(cluster: StorageCluster, status: int) -> None:
    """What the control plane refuses is tried again by the background loop only."""
    cluster.add_pageservers(2)
    cluster.create(TENANT)
    cluster.receiver.script = [status]

    assert 200 == cluster.controller.set_offline(1)
    cluster.controller.wait("both", lambda: len(cluster.receiver.received) == 3)

    attempts = [event["attempt"] for event in cluster.admin.events("hook_sent")]
    assert [0, 0, 0] == attempts


def test_many_tenants(cluster: StorageCluster) -> None:
    """No more than 32 notifications are under way."""
    cluster.add_pageservers(1)
    cluster.receiver.default = cluster.receiver.SILENCE
    tenants = [f"{number:032x}" for number in range(40)]

    for tenant in tenants:
        cluster.admin.create_tenant(tenant)
    cluster.controller.wait("all", lambda: len(cluster.admin.events("location_set")) == 40)

    sent = {event["tenant_id"] for event in cluster.admin.events("hook_sent")}
    assert 32 == len(sent)


def test_sigterm(cluster: StorageCluster) -> None:
    """It ends in order, whatever it waits for."""
    cluster.add_pageservers(1)
    cluster.receiver.default = cluster.receiver.SILENCE
    cluster.admin.create_tenant(TENANT)
    cluster.admin.wait_event("hook_sent")

    assert 0 == cluster.controller.stop()
    assert "died" not in cluster.controller.log.read_text()


def test_unknown_tenant_at_creation(cluster: StorageCluster) -> None:
    """A control plane that does not know a new tenant yet does not hold it up."""
    cluster.add_pageservers(1)
    cluster.receiver.script = [404]

    cluster.create(TENANT)

    assert [404] == [event["status"] for event in cluster.admin.events("hook_answered")]


def test_bad_orders(cluster: StorageCluster) -> None:
    """A bad order is refused with a reason, and nothing changes."""
    cluster.add_pageservers(1)
    path = "/control/v1/node/1/config"
    for body, status in (
        ({"node_id": 2, "availability": "Offline"}, 400),
        ({"availability": "Offline"}, 400),
        ({"node_id": 1, "availability": "Away"}, 400),
        ({"node_id": 1, "scheduling": "never"}, 400),
    ):
        found, answer = cluster.controller.call("PUT", path, body)
        assert (status, ["msg"]) == (found, list(answer))
    body = {"node_id": 9, "availability": "Offline"}
    assert 404 == cluster.controller.call("PUT", "/control/v1/node/9/config", body)[0]
    for method, admin_path, order in (
        ("PUT", "/fault", {"kind": "nonsense"}),
        ("PUT", f"/tenants/{TENANT}", {"shard_count": -1}),
        ("PUT", f"/tenants/{TENANT}", {"colour": "red"}),
        ("PUT", f"/tenants/{TENANT}", {"attached": [1, 1]}),
        ("PUT", "/nodes/1", {}),
    ):
        with pytest.raises(AdminError) as caught:
            cluster.admin._call(method, admin_path, order)
        assert 400 == caught.value.status
    assert [] == cluster.receiver.received
    assert "Active" == cluster.controller.availability(1)
