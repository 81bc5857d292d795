"""Nonsense, strangers and slow clients: refused, nothing changed, nothing secret told."""

import json
import socket
from typing import Any

import pytest

from devstack.compute_control_plane import COMPUTE_TOKEN, HOOK_TOKEN, ComputeControlPlane
from devstack.stack import operator_text
from tests.control_plane.conftest import ControlPlaneFactory

PASSWORD = "SCRAM-SHA-256$4096:c2FsdA==$c3RvcmVk:c2VydmVy"
OWN_TOKEN = "token-of-one-compute"
SECRETS = (HOOK_TOKEN, COMPUTE_TOKEN, OWN_TOKEN, PASSWORD)


@pytest.fixture
def control_plane(make_control_plane: ControlPlaneFactory) -> ComputeControlPlane:
    """A control plane without a storage controller, and a compute."""
    made = make_control_plane().start()
    role = {"name": "alice", "encrypted_password": PASSWORD, "options": None}
    text = operator_text(cluster={"roles": [role], "databases": [], "settings": []})
    made.put("one", text, headers={"Compute-Token": OWN_TOKEN})
    return made


def revision(control_plane: ComputeControlPlane) -> Any:
    """What is published, to see that nothing changed."""
    found = control_plane.spec("one", token=OWN_TOKEN)
    assert 200 == found.code
    return found.body


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("notify-attach", b"{"),
        ("notify-attach", b"[]"),
        ("notify-attach", {}),
        ("notify-attach", {"tenant_id": "../../x", "shards": [{"node_id": 1, "shard_number": 0}]}),
        ("notify-attach", {"tenant_id": "0" * 32, "shards": [{"node_id": 1, "shard_number": 0}]}),
        ("notify-attach", b"[" * 200_000),
        ("notify-safekeepers", {"tenant_id": "0" * 32}),
        ("notify-safekeepers", b"\x00\xff"),
    ],
)
def test_hooks(control_plane: ComputeControlPlane, name: str, body: Any) -> None:
    """A malformed hook, or one for a tenant that nobody knows, is 4xx with a reason."""
    before = revision(control_plane)
    found = control_plane.hook(name, body)
    assert 400 <= found.code < 500
    assert found.body["error"]
    assert before == revision(control_plane)


def test_strangers(control_plane: ComputeControlPlane) -> None:
    """No token, a wrong one, and the token of another compute open nothing."""
    before = revision(control_plane)
    for token in ("wrong", COMPUTE_TOKEN, HOOK_TOKEN):
        found = control_plane.spec("one", token=token)
        assert (403, {"error": "this token does not open this"}) == (found.code, found.body)
        assert 403 == control_plane.report("one", {}, token=token).code
    path = "/compute/api/v2/computes/one/spec"
    assert 401 == control_plane.call("GET", path).code
    assert 403 == control_plane.spec("two", token=OWN_TOKEN).code
    assert 403 == control_plane.call("PUT", "/notify-attach", {}, token=OWN_TOKEN).code
    assert 403 == control_plane.call("GET", "/v1/computes", token=COMPUTE_TOKEN).code
    assert before == revision(control_plane)


def test_big_bodies(control_plane: ComputeControlPlane) -> None:
    """100 MB are refused before they are sent, or as soon as they are too many."""
    before = revision(control_plane)
    for method, path, token in (
        ("PUT", "/notify-attach", HOOK_TOKEN),
        ("POST", "/compute/api/v2/computes/one/report", OWN_TOKEN),
    ):
        lines = [f"{method} {path} HTTP/1.1", "Host: x", f"Authorization: Bearer {token}"]
        for length in ("Content-Length: 104857600", "Transfer-Encoding: chunked"):
            head = "\r\n".join([*lines, length, "", ""]).encode()
            with socket.create_connection(("127.0.0.1", control_plane.port), 10) as wire:
                wire.sendall(head)
                if "chunked" in length:
                    send_until_closed(wire)
                assert b"HTTP/1.1 413 " in wire.recv(100)
    assert before == revision(control_plane)


def send_until_closed(wire: socket.socket) -> None:
    """Send 100 MB in chunks, or as much as is taken."""
    chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    wire.settimeout(2)
    try:
        for _ in range(1600):
            wire.sendall(chunk)
    except OSError:
        pass
    wire.settimeout(10)


def test_slow_clients(control_plane: ComputeControlPlane) -> None:
    """Who does not finish a request is closed; others are served meanwhile."""
    slow = [socket.create_connection(("127.0.0.1", control_plane.port), 20) for _ in range(20)]
    try:
        for wire in slow:
            wire.sendall(b"GET /compute/api/v2/")
        revision(control_plane)
        assert b"" == slow[0].recv(100)
    finally:
        for wire in slow:
            wire.close()


def test_documents(control_plane: ComputeControlPlane) -> None:
    """A document that is none, or that omits what is needed, is refused by the field's name."""
    before = revision(control_plane)
    for text, reason in (
        (b"{", "not valid JSON"),
        ({"compute_ctl_config": {}}, "spec: missing"),
        ({"spec": {"tenant_id": "0" * 32}}, "spec.cluster: missing"),
        (operator_text(tenant_id="x"), "spec.tenant_id: expected 32 hex digits"),
    ):
        found = control_plane.admin("PUT", "/v1/computes/one", text)
        assert found.code in (400, 422)
        assert reason in found.body["error"]
    assert before == revision(control_plane)


def test_nothing_secret_is_logged(make_control_plane: ControlPlaneFactory) -> None:
    """Neither tokens nor passwords reach the log, even at DEBUG, nor the history."""
    made = make_control_plane(extra=["--log-level", "debug"]).start()
    role = {"name": "alice", "encrypted_password": PASSWORD, "options": None}
    text = operator_text(cluster={"roles": [role], "databases": [], "settings": []})
    made.put("one", text, headers={"Compute-Token": OWN_TOKEN})
    role["encrypted_password"] = "md5" + "0" * 32
    made.put("one", text)
    for token in SECRETS:
        made.spec("one", token=token.replace("$", "-"))
        made.call("GET", f"/compute/api/v2/computes/one/spec?token={token}", token=token)
    shown = made.log_text() + json.dumps(made.admin("GET", "/v1/history").body)
    assert made.stop() == 0
    assert [] == [secret for secret in SECRETS if secret in shown + made.log_text()]
