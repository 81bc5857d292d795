"""The external listener: what needs a token, whose token counts."""

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import jwt
import pytest

from compute_ctl.decisions.transitions import Event
from compute_ctl.http.api import Listener, Route
from compute_ctl.http.routes import ROUTES
from devstack.installation import free_port
from devstack.wait import until
from tests.daemon.api import Served, serve
from tests.daemon.signing import KEY, OTHER, token, trust

CLOSED = [one for one in ROUTES if Listener.EXTERNAL in one.listeners and not one.open]


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    """A node behind all three listeners, which trusts KEY."""
    async with serve(tmp_path, external_http_port=free_port()) as one:
        trust(one, KEY)
        one.node.move(Event.PG_READY)
        yield one


@pytest.mark.parametrize("route", CLOSED, ids=lambda one: one.path)
async def test_without_a_token(served: Served, route: Route) -> None:
    """No token is 400, one of somebody else 401, one for another compute 403; nothing happens."""
    for options, expected in (
        ({}, (400, "invalid authorization token")),
        ({"token": token(OTHER)}, (401, "failed to verify authorization token")),
        (
            {"token": token(compute_id="c2")},
            (403, "invalid compute ID in authorization token claims"),
        ),
    ):
        reply = await served.external(route.method, route.path, body=b"", **options)
        assert expected == (reply.code, reply.json["error"])
        assert (reply.headers.get("www-authenticate") == "Bearer") == (reply.code == 401)
    assert "running" == served.node.status


async def test_a_promotion_keeps_the_keys(served: Served) -> None:
    """One that brings none leaves those of the document in force; a key twice is refused."""
    body = b'{"spec": {"mode": "Primary", "cluster": {}}}'
    options = {"headers": {"Content-Type": "application/json"}, "token": token()}
    asking = asyncio.create_task(served.external("POST", "/promote", body=body, **options))
    await until("the promotion", lambda: served.node.promotions.current is not None)
    assert served.node.promotions.current is not None
    document = served.node.promotions.current.document
    assert document is not None
    assert document.compute_ctl_config == served.node.config.ctl_config
    assert document.compute_ctl_config.jwks.keys
    served.node.promotions.end("the test")
    assert 409 == (await asking).code
    twice = b'{"spec": {"mode": "Primary", "mode": "Replica", "cluster": {}}}'
    assert 422 == (await served.external("POST", "/promote", body=twice, **options)).code


@pytest.mark.parametrize("path", ["/metrics", "/livez", "/readyz", "/syncz"])
async def test_probes_need_no_token(served: Served, path: str) -> None:
    """Health and metrics are for everybody, with any token or none."""
    assert (await served.external("GET", path)).code in (200, 503)
    assert (await served.external("GET", path, token="nonsense")).code in (200, 503)


async def test_with_a_token(served: Served) -> None:
    """A token for this compute, or one for all, opens the listener."""
    admin = token(scope="compute_ctl:admin", aud=["compute"], compute_id=None)
    for one in (token(), admin):
        reply = await served.external("GET", "/status", token=one)
        assert (200, "running") == (reply.code, reply.json["status"])


async def test_what_belongs_to_other_doors(served: Served) -> None:
    """The best token does not make Postgres's own routes reachable from outside."""
    admin = token(scope="compute_ctl:admin", aud=["compute"])
    for path in ("/refresh_configuration", "/configuration_ack"):
        assert 403 == (await served.external("POST", path, token=admin)).code
    assert 0 == served.node.requests.requested


async def test_what_is_not_there_needs_no_token(served: Served) -> None:
    """Unknown routes and wrong methods are told apart from closed ones, as in the reference."""
    assert 404 == (await served.external("GET", "/nothing")).code
    assert 405 == (await served.external("GET", "/configure")).code


async def test_keys_follow_the_document(served: Served) -> None:
    """New keys are in force at once, and without keys nobody gets in."""
    assert 200 == (await served.external("GET", "/status", token=token())).code
    trust(served, OTHER)
    assert 401 == (await served.external("GET", "/status", token=token())).code
    assert 200 == (await served.external("GET", "/status", token=token(OTHER))).code
    trust(served)
    assert 401 == (await served.external("GET", "/status", token=token(OTHER))).code


async def test_bad_key_is_named_once(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    """A key that cannot be used is a warning, not an error of every request."""
    served.trust({"kty": "oct"})
    for _ in range(2):
        assert 401 == (await served.external("GET", "/status", token=token())).code
    warnings = [one.getMessage() for one in caplog.records if one.levelname == "WARNING"]
    assert ["compute_ctl_config.jwks.keys[0] is not used: its type is not known"] == warnings


async def test_instance_id_switches_nothing_off(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reference's way round all checks is none here."""
    monkeypatch.setenv("INSTANCE_ID", "x")
    assert 400 == (await served.external("GET", "/status")).code


async def test_tokens_for_ever(tmp_path: Path) -> None:
    """A token without exp is taken with the flag only."""
    for tokens_need_exp, code in ((True, 401), (False, 200)):
        async with serve(
            tmp_path, external_http_port=free_port(), tokens_need_exp=tokens_need_exp
        ) as served:
            trust(served, KEY)
            endless = jwt.encode({"compute_id": "test"}, KEY, "EdDSA")
            assert code == (await served.external("GET", "/status", token=endless)).code


async def test_push_from_outside_brings_its_keys(served: Served) -> None:
    """A document without compute_ctl_config would lock its sender out: 422, as in the reference."""
    reply = await served.external(
        "POST", "/configure", json_body={"spec": {"cluster": {}}}, token=token()
    )
    assert 422 == reply.code
    assert "compute_ctl_config" in reply.json["error"]
    assert "running" == served.node.status


async def test_terminate_from_outside(served: Served) -> None:
    """Who may push may also end the compute, and learns where its log ended."""
    served.node.server.lsn = "0/1234"
    served.node.move(Event.TERMINATE_FAST)
    served.node.move(Event.STOPPED)
    reply = await served.external("POST", "/terminate", token=token())
    assert (201, {"lsn": "0/1234"}) == (reply.code, reply.json)


async def test_metrics_of_the_start(served: Served) -> None:
    """The reference's keys are all there, and all are whole numbers."""
    body = (await served.external("GET", "/metrics.json", token=token())).json
    assert 13 == len(body)
    assert all(isinstance(value, int) and value >= 0 for value in body.values())


async def test_all_addresses(tmp_path: Path) -> None:
    """It listens on every address; where somebody has the port, the other listeners are open."""
    port, other = free_port(), tmp_path / "other"
    other.mkdir()
    async with serve(tmp_path, external_http_port=port):
        with socket.socket() as probe:
            probe.settimeout(2)
            assert 0 == probe.connect_ex(("127.0.0.2", port))
        async with serve(other, external_http_port=port) as second:
            reason = f"could not listen on 0.0.0.0:{port}: address already in use"
            assert reason in (await second.loopback("GET", "/status")).json["closed_ports"]


async def test_no_token_is_judged_before_the_keys_are_known(served: Served) -> None:
    """While the daemon takes up what an earlier one knew, it says so: a client tries again."""
    trust(served, KEY)
    served.node.restored = False
    assert 503 == (await served.external("GET", "/status", token=token())).code
    assert 200 == (await served.external("GET", "/livez")).code
    served.node.restored = True
    assert 200 == (await served.external("GET", "/status", token=token())).code
