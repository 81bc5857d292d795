"""What each listener serves and refuses, through real sockets."""

import logging
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from compute_ctl.decisions.model import Outcome
from compute_ctl.decisions.transitions import Event
from compute_ctl.http.api import Listener, Route
from compute_ctl.http.routes import NOT_OURS, ROUTES
from tests.daemon.api import Served, Wire, serve


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    """A node behind its listeners."""
    async with serve(tmp_path) as one:
        yield one


@pytest.mark.parametrize(
    "route",
    [one for one in ROUTES if Listener.LOOPBACK not in one.listeners],
    ids=lambda one: one.path,
)
async def test_loopback_refuses_what_is_not_its(served: Served, route: Route) -> None:
    """What belongs to another listener is 403 and names that listener; nothing happens."""
    reply = await served.loopback(route.method, route.path, body=b"")
    served_on = " and ".join(sorted(listener.label for listener in route.listeners))
    expected = f"{route.path} is served on {served_on}, not on the loopback port"
    assert (403, {"error": expected}) == (reply.code, reply.json)
    assert "empty" == served.node.status


@pytest.mark.parametrize("path", ["/status", "/metrics", "/livez", "/readyz", "/openapi.json"])
async def test_both_doors_serve_reads(served: Served, path: str) -> None:
    """Reads are served at both listeners, HEAD too, with the same length and no body."""
    for ask in (served.loopback, served.socket):
        whole = await ask("GET", path)
        head = await ask("HEAD", path)
        assert (200, 200) == (whole.code, head.code)
        assert b"" == head.body
        assert int(head.headers["content-length"]) > 0


@pytest.mark.parametrize("path", [*sorted(NOT_OURS), "/extension_server/postgis.so"])
async def test_routes_of_the_reference_that_are_not_ours(served: Served, path: str) -> None:
    """A client of Neon's compute_ctl learns in JSON that a route does not exist here."""
    reply = await served.loopback("POST", path)
    expected = {"error": f"{path} is not implemented here"}
    assert (501, expected) == (reply.code, reply.json)


async def test_unknown_route_and_method(served: Served) -> None:
    """404 and 405 are JSON like every error; 405 says what is allowed."""
    unknown = await served.loopback("GET", "/nothing")
    assert (404, {"error": "no such route"}) == (unknown.code, unknown.json)
    wrong = await served.loopback("GET", "/refresh_configuration")
    assert (405, "POST") == (wrong.code, wrong.headers["allow"])
    assert {"error": "method GET is not allowed here"} == wrong.json
    assert "GET, HEAD" == (await served.loopback("DELETE", "/status")).headers["allow"]


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:3081", "127.0.0.1", "127.0.0.1:80", "[::1]", "[::1]:1"]
)
async def test_host_that_is_local(served: Served, host: str) -> None:
    """Every way to name this machine's loopback is fine."""
    assert 200 == (await served.loopback("GET", "/livez", host=host)).code


@pytest.mark.parametrize(
    ("host", "code"),
    [
        ("evil.example", 403),
        ("localhost.evil.example", 403),
        ("127.0.0.1.nip.io", 403),
        (None, 400),
    ],
)
async def test_host_that_is_not(served: Served, host: str | None, code: int) -> None:
    """A page that rebinds its own name to 127.0.0.1 gets nothing."""
    reply = await served.loopback("POST", "/refresh_configuration", host=host)
    assert (code, 0) == (reply.code, served.node.requests.requested)


async def test_old_client_without_host(served: Served) -> None:
    """HTTP/1.0 knows no Host header."""
    async with Wire.tcp(served.port) as wire:
        wire.writer.write(b"GET /livez HTTP/1.0\r\n\r\n")
        assert 200 == (await wire.reply()).code


async def test_origin_is_refused(served: Served) -> None:
    """A browser that posts from some page is refused, even from one of this machine."""
    headers = {"Origin": "http://localhost:3081"}
    reply = await served.loopback("POST", "/refresh_configuration", headers=headers)
    assert (403, 0) == (reply.code, served.node.requests.requested)
    assert {"error": "requests with an Origin header are refused"} == reply.json


async def test_request_id_is_echoed(served: Served) -> None:
    """The caller's X-Request-Id comes back, also with an error; a missing one is made."""
    given = await served.loopback("GET", "/nothing", headers={"X-Request-Id": "abc-1"})
    assert "abc-1" == given.headers["x-request-id"]
    made = await served.loopback("GET", "/livez")
    assert 36 == len(made.headers["x-request-id"])
    odd = await served.loopback("GET", "/livez", headers={"X-Request-Id": "\u00e9 x"})
    assert 36 == len(odd.headers["x-request-id"])


async def test_log_reads_like_the_reference(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    """A refresh leaves a line at INFO with its id, then one with code and latency; a probe none."""
    caplog.set_level(logging.INFO, logger="compute_ctl.http")
    await served.loopback("GET", "/livez")
    await served.loopback("POST", "/refresh_configuration", headers={"X-Request-Id": "r1"})
    records = [one for one in caplog.records if one.name.startswith("compute_ctl.http.pipeline")]
    expected = [
        "serving /refresh_configuration POST request",
        "answered /refresh_configuration POST request with 200",
    ]
    assert expected == [one.getMessage() for one in records]
    assert {"r1"} == {vars(one)["request_id"] for one in records}
    assert vars(records[1])["latency_ms"] >= 0


@pytest.mark.parametrize(
    ("headers", "body", "code"),
    [
        ({"Content-Encoding": "gzip"}, b"{}", 415),
        ({"Content-Type": "text/plain"}, b"{}", 415),
        ({"Content-Type": "application/json"}, b"x" * (64 * 1024 + 1), 413),
        ({"Content-Length": "99999999"}, b"", 413),
        ({"Content-Type": "application/json"}, b"{", 400),
        ({"Content-Type": "application/x-www-form-urlencoded"}, b"", 200),
    ],
)
async def test_body_of_a_refresh(
    served: Served, headers: dict[str, str], body: bytes, code: int
) -> None:
    """No body is fine whatever its type; one that is coded, no JSON or too long is refused."""
    reply = await served.loopback("POST", "/refresh_configuration", body=body, headers=headers)
    assert code == reply.code
    assert ("error" in reply.json) == (code != 200)
    assert served.node.requests.requested == (code == 200)


async def test_chunked_body_is_limited_too(served: Served) -> None:
    """A body without a length ends at the same limit."""
    chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    async with Wire.tcp(served.port) as wire:
        wire.writer.write(
            b"POST /refresh_configuration HTTP/1.1\r\nHost: localhost\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n" + 2 * chunk
        )
        assert 413 == (await wire.reply()).code


async def test_length_is_needed_where_a_body_is(served: Served) -> None:
    """A configuration without a body is 411."""
    assert 411 == (await served.socket("POST", "/configure")).code


async def test_expect_is_honoured(served: Served) -> None:
    """A client that waits for 100 before it sends a long document gets it."""
    async with Wire.unix(served.http.socket_path) as wire:
        reply = await wire.ask(
            "POST",
            "/configure",
            headers={
                "Expect": "100-continue",
                "Content-Length": "1",
                "Content-Type": "application/json",
            },
        )
        assert 100 == reply.code
        wire.writer.write(b"{")
        assert 400 == (await wire.reply()).code


async def test_malformed_http(served: Served) -> None:
    """What is no HTTP gets a JSON error and loses its connection."""
    async with Wire.tcp(served.port) as wire:
        wire.writer.write(b"\x16\x03\x01 hello\r\n\r\n")
        reply = await wire.reply()
        assert (400, {"error": "malformed HTTP request"}) == (reply.code, reply.json)
        assert await wire.closed(2)


async def test_header_that_is_too_big(served: Served) -> None:
    """A header line without end is refused, not stored."""
    async with Wire.tcp(served.port) as wire:
        reply = await wire.ask("GET", "/livez", headers={"X-Big": "x" * 20_000})
        assert 400 == reply.code


async def test_configure_says_what_is_wrong(served: Served) -> None:
    """A document of the wrong shape is 422 with the path of the field; no JSON at all is 400."""
    reply = await served.socket("POST", "/configure", json_body={"spec": {"cluster": 5}})
    assert 422 == reply.code
    assert "spec.cluster" in reply.json["error"]
    headers = {"Content-Type": "application/json"}
    assert 400 == (await served.socket("POST", "/configure", body=b"{x", headers=headers)).code


async def test_terminate(served: Served) -> None:
    """A compute without Postgres ends at once: 200; again: 201; a wrong mode changes nothing."""
    wrong = await served.socket("POST", "/terminate?mode=slow")
    assert (400, "empty") == (wrong.code, served.node.status)
    first = await served.socket("POST", "/terminate?mode=immediate")
    assert (200, {"lsn": None}) == (first.code, first.json)
    assert 201 == (await served.socket("POST", "/terminate")).code


async def test_health(served: Served) -> None:
    """Alive, ready and in sync are three questions."""
    assert {"status": "alive"} == (await served.loopback("GET", "/livez")).json
    assert {"status": "ready"} == (await served.loopback("GET", "/readyz")).json
    unproven = await served.loopback("GET", "/syncz")
    expected = "the configuration desired is not in force: it has not been proven yet"
    assert (503, {"error": expected}) == (unproven.code, unproven.json)
    served.postgres.ready = False
    assert 503 == (await served.loopback("GET", "/readyz")).code
    assert 500 == (await served.socket("GET", "/hadron_liveness_probe")).code
    served.postgres.ready = True
    assert b'"ok"' == (await served.socket("GET", "/hadron_liveness_probe")).body


async def test_syncz_says_why_not(served: Served) -> None:
    """What went wrong last is the reason, without passwords."""
    served.end_attempt(Outcome.FETCH_FAILED, "no answer from postgres://u:secret@h/x")
    reply = await served.loopback("GET", "/syncz")
    assert reply.json["error"].endswith("no answer from postgres://u:********@h/x")


async def test_status_has_the_keys_of_the_reference_first(served: Served) -> None:
    """The reference's six keys stand first, in its order, and ours follow."""
    served.node.move(Event.PG_READY)
    body = (await served.loopback("GET", "/status")).json
    expected = ["start_time", "tenant", "timeline", "status", "last_active", "error"]
    assert expected == list(body)[:6]
    ours = ["config", "refresh", "postgres", "status_since", "error_since"]
    assert ours == list(body)[6:11]
    assert "closed_ports" in body
    assert "running" == body["status"]


async def test_nobody_learns_the_marker(served: Served) -> None:
    """What proves an acknowledgement genuine is shown nowhere."""
    marker = served.wrote()
    for path in ("/status", "/metrics"):
        assert marker.nonce.encode() not in (await served.socket("GET", path)).body


async def test_stop_ends_waiters(tmp_path: Path) -> None:
    """A caller who waits for an outcome does not hold the daemon up."""
    async with serve(tmp_path) as served, Wire.tcp(served.port) as wire:
        wire.writer.write(
            b"POST /refresh_configuration?wait=600 HTTP/1.1\r\nHost: localhost\r\n\r\n"
        )
        await served.requested()
        await served.http.stop(0.1)
        assert await wire.closed(2)
