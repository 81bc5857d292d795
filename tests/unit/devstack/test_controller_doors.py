"""The storage controller stand-in: tokens, health, background operations, bad arguments."""

import sys
from pathlib import Path

import pytest

from devstack import fork_server
from devstack.client import AdminError, exchange
from devstack.tokens import KeyPair
from tests.unit.devstack.clients import TENANT
from tests.unit.devstack.storage_cluster import StorageCluster


def test_tokens(cluster: StorageCluster, tmp_path: Path) -> None:
    """Each route wants its scope; `admin` opens all, and health needs no token."""
    keys = KeyPair.create(tmp_path)
    controller = cluster.make_controller(
        name="guarded", state=tmp_path / "guarded.json", auth_key=keys.public_path
    )
    nodes, locate = "/control/v1/node", f"/debug/v1/tenant/{TENANT}/locate"

    def status(path: str, token: str | None) -> int:
        return exchange(controller.address, "GET", path, token=token)[0]

    infra, admin = keys.token(scope="infra"), keys.token(scope="admin")
    assert [401, 401, 200, 200] == [status(nodes, t) for t in (None, "nonsense", infra, admin)]
    assert [401, 403, 404] == [status(locate, token) for token in (None, infra, admin)]
    assert 200 == status("/status", None)
    controller.wait("ready", lambda: status("/ready", None) == 200)


def test_drain(cluster: StorageCluster) -> None:
    """While a node is drained no node can be configured; then its shards are elsewhere."""
    cluster.add_pageservers(2)
    cluster.create(TENANT, attached=[1])
    config = "/control/v1/node/2/config"

    cluster.admin.drain(1, pause_seconds=0.3)
    body = {"node_id": 2, "availability": "Offline"}
    status, answer = cluster.controller.call("PUT", config, body)

    assert 412 == status
    assert answer["msg"].endswith("Ongoing background operation forbids configuring: drain 1")
    with pytest.raises(AdminError, match="412"):
        cluster.admin.drain(2)
    assert "Draining" == cluster.controller.nodes()[0]["scheduling"]
    cluster.admin.wait_event("drain_ended", node=1)
    assert [2] == cluster.controller.located(TENANT)
    assert "PauseForRestart" == cluster.controller.nodes()[0]["scheduling"]
    assert 200 == cluster.controller.set_offline(2)
    assert [2] == cluster.controller.located(TENANT)  # nobody else may be given shards


def test_cancelled_drain(cluster: StorageCluster) -> None:
    """A drain that is cancelled leaves the node as it was."""
    cluster.add_pageservers(2)
    cluster.create(TENANT, attached=[1])
    cluster.admin.drain(1, pause_seconds=60)

    cluster.admin.cancel_drain()

    cluster.admin.wait_event("drain_ended", node=1)
    assert "Active" == cluster.controller.nodes()[0]["scheduling"]
    assert [1] == cluster.controller.located(TENANT)
    assert 200 == cluster.controller.set_offline(1)


def test_paused_node(cluster: StorageCluster) -> None:
    """A node whose scheduling is paused keeps its shards and is given no others."""
    cluster.add_pageservers(2)
    body = {"node_id": 2, "scheduling": "Pause"}
    assert 200 == cluster.controller.call("PUT", "/control/v1/node/2/config", body)[0]
    cluster.create(TENANT)

    assert 200 == cluster.controller.set_offline(1)

    assert [1] == cluster.controller.located(TENANT)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "the following arguments are required: --state"),
        (["--state", "/dev/zero/x"], "Not a directory"),
        (["--state", "{folder}/bad.json"], "cannot read state file"),
        (["--state", "{folder}/x", "--auth-key", "/nowhere"], "No such file"),
        (["--state", "{folder}/x", "--control-plane-token-file", "{folder}/empty"], "is empty"),
    ],
)
def test_bad_arguments(tmp_path: Path, arguments: list[str], message: str) -> None:
    """Bad arguments end with status 2 and one clear line."""
    (tmp_path / "bad.json").write_text('{"nodes": []}')
    (tmp_path / "empty").touch()
    given = [argument.format(folder=tmp_path) for argument in arguments]

    done = fork_server.run(
        [sys.executable, "-m", "devstack.storage_controller", *given], timeout=20
    )

    assert 2 == done.returncode
    assert message in done.stderr.splitlines()[-1]
