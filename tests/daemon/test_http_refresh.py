"""POST /refresh_configuration and POST /configuration_ack through real sockets."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from compute_ctl.decisions.model import Outcome, Suspicion
from devstack.wait import until
from tests.daemon.api import Served, Wire, serve

REFRESH = "/refresh_configuration"
ACK = "/configuration_ack"


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    """A node behind its listeners."""
    async with serve(tmp_path) as one:
        yield one


def metric(served: Served, line: str) -> str:
    """Value of the sample that begins with *line*."""
    text = served.metrics.exposition(served.node.snapshot()).decode()
    return next(one for one in text.splitlines() if one.startswith(line)).split()[-1]


async def test_answers_at_once_with_one_line(served: Served) -> None:
    """A refresh is recorded and answered by one short line of JSON, before anything happens."""
    reply = await served.loopback("POST", REFRESH)
    expected = b'{"status":"refresh_configuration_pending","refresh_id":1,"coalesced":false}\n'
    assert (200, expected) == (reply.code, reply.body)
    assert 1 == served.node.requests.requested
    assert "refresh_configuration_pending" == served.node.status


async def test_requests_not_yet_taken_are_coalesced(served: Served) -> None:
    """A second request before the first is taken says that it shares its attempt."""
    await served.loopback("POST", REFRESH)
    reply = await served.loopback("POST", REFRESH)
    assert (2, True) == (reply.json["refresh_id"], reply.json["coalesced"])


async def test_wait_tells_the_outcome(served: Served) -> None:
    """With `wait` the answer comes when the attempt has ended, and says how."""
    asking = asyncio.create_task(served.loopback("POST", f"{REFRESH}?wait=5"))
    await served.requested()
    served.end_attempt(Outcome.APPLIED)
    reply = await asking
    assert (200, "applied") == (reply.code, reply.json["outcome"])
    assert "reason" not in reply.json


async def test_wait_tells_why_not(served: Served) -> None:
    """An outcome that is not good comes with its reason, without passwords."""
    asking = asyncio.create_task(served.loopback("POST", f"{REFRESH}?wait=5"))
    await served.requested()
    served.end_attempt(Outcome.REJECTED, "no good: host=a password=hunter2")
    reply = await asking
    assert "rejected" == reply.json["outcome"]
    assert "no good: host=a password=********" == reply.json["reason"]


async def test_wait_ends_in_time(served: Served) -> None:
    """Nobody waits longer than asked for: the outcome is then `timeout`."""
    reply = await served.loopback("POST", f"{REFRESH}?wait=0.01")
    assert (200, "timeout") == (reply.code, reply.json["outcome"])


@pytest.mark.parametrize("wait", ["x", "-1", "601", "nan", "inf", ""])
async def test_bad_wait_is_refused(served: Served, wait: str) -> None:
    """A `wait` that is no number of seconds up to 600 is a 400, and no request."""
    reply = await served.loopback("POST", f"{REFRESH}?wait={wait}")
    expected = f'parameter "wait" must be a number of seconds from 0 to 600, not "{wait}"'
    assert (400, {"error": expected}) == (reply.code, reply.json)
    assert 0 == served.node.requests.requested


async def test_waiters_are_limited(tmp_path: Path) -> None:
    """The 65th caller who wants to wait is told 503, and a plain request still gets through."""
    async with serve(tmp_path) as served:
        asking = [
            asyncio.create_task(served.loopback("POST", f"{REFRESH}?wait=5")) for _ in range(64)
        ]
        await served.requested(64)
        assert 503 == (await served.loopback("POST", f"{REFRESH}?wait=5")).code
        assert 200 == (await served.loopback("POST", REFRESH)).code
        served.end_attempt(Outcome.UNCHANGED)
        outcomes = {reply.json["outcome"] for reply in await asyncio.gather(*asking)}
        assert {"unchanged"} == outcomes


async def test_a_waiter_who_leaves_frees_its_place(served: Served) -> None:
    """A caller who hangs up while waiting is forgotten at once."""
    async with Wire.tcp(served.port) as wire:
        wire.writer.write(f"POST {REFRESH}?wait=600 HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        await served.requested()
        wire.writer.close()
    await until("the place is free", lambda: served.http.api.waiting == 0)


async def test_worker_says_what_it_suspects(served: Served) -> None:
    """The worker's report becomes the suspicion shown, and counts as the worker's."""
    report = {
        "source": "pageserver",
        "shard": 3,
        "class": "dead",
        "sqlstate": "08006",
        "text": "connection refused",
        "count": 2,
        "running": "",
    }
    await served.loopback("POST", REFRESH, json_body=report, headers={"X-Refresh-Source": "worker"})
    assert served.node.requests.suspicion == Suspicion(
        source="pageserver",
        shard=3,
        trouble="dead",
        sqlstate="08006",
        text="connection refused",
        count=2,
    )
    assert "1.0" == metric(served, 'compute_ctl_refresh_requests_total{source="worker"}')


async def test_person_who_asks_over_sql(served: Served) -> None:
    """What the worker only passes on counts as an operator's request."""
    headers = {"X-Refresh-Source": "worker"}
    await served.loopback("POST", REFRESH, json_body={"source": "manual"}, headers=headers)
    assert "1.0" == metric(served, 'compute_ctl_refresh_requests_total{source="operator"}')


async def test_text_in_another_encoding_does_not_cost_the_refresh(served: Served) -> None:
    """Bytes that are not UTF-8 in the worker's text are replaced."""
    body = b'{"source":"pageserver","text":"d\xe9j\xe0"}'
    headers = {"X-Refresh-Source": "worker", "Content-Type": "application/json"}
    assert 200 == (await served.loopback("POST", REFRESH, body=body, headers=headers)).code
    assert served.node.requests.suspicion is not None
    assert "d\ufffdj\ufffd" == served.node.requests.suspicion.text


@pytest.mark.parametrize(
    ("headers", "path", "source"),
    [
        ({}, REFRESH, "operator"),
        ({"User-Agent": ""}, REFRESH, "worker"),
        ({"User-Agent": ""}, f"{REFRESH}?wait=0", "operator"),
        ({"User-Agent": "", "X-Refresh-Source": "operator"}, REFRESH, "operator"),
    ],
)
async def test_who_asks(served: Served, headers: dict[str, str], path: str, source: str) -> None:
    """A bare POST that names no client is Neon's own library; anything more is an operator."""
    await served.loopback("POST", path, headers=headers)
    assert "1.0" == metric(served, f'compute_ctl_refresh_requests_total{{source="{source}"}}')


async def test_peer_of_the_socket_is_named(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    """Who asks over the unix socket is known by the uid that the kernel tells."""
    caplog.set_level("INFO")
    await served.socket("POST", REFRESH)
    assert f"uid {os.getuid()} asks for a refresh" in caplog.text


async def test_a_report_stays_on_one_line(served: Served) -> None:
    """Any local process may report: what it says cannot add lines to a log, a status, systemd's."""
    report = {
        "source": "x\nMAINPID=1",
        "class": "dead\r",
        "sqlstate": "\x1b[1m",
        "text": "a\n\x1bb",
    }
    headers = {"X-Refresh-Source": "worker"}
    await served.loopback("POST", REFRESH, json_body=report, headers=headers)
    suspicion = served.node.requests.suspicion
    assert "x\\nMAINPID=1 is dead\\r: a\\n\\x1bb" == str(suspicion)
    assert suspicion is not None
    assert "\\x1b[1m" == suspicion.sqlstate


async def test_outage_is_said_once(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    """What the worker complains of stands in the log once; its repetitions do not, refusals do."""
    caplog.set_level("INFO")
    worker = {"X-Refresh-Source": "worker"}
    report = {"source": "pageserver", "shard": 3, "class": "dead", "text": "Connection refused"}
    for _ in range(3):
        await served.loopback("POST", REFRESH, json_body=report, headers=worker)
    forged = {"marker": f"1.{'0' * 32}.{'0' * 64}"}
    bare = {"User-Agent": ""}
    await served.loopback("POST", "/configuration_ack", json_body=forged, headers=bare)
    await served.loopback("POST", REFRESH)
    said = "postgres says that pageserver of shard 3 is dead: Connection refused"
    assert 1 == caplog.text.count(said)
    assert 2 == caplog.text.count("answered /refresh_configuration POST request with 200")
    assert 1 == caplog.text.count("answered /configuration_ack POST request with 403")


async def test_force_needs_the_socket(served: Served) -> None:
    """Trying a quarantined document again is nothing for any local process."""
    refused = await served.loopback("POST", f"{REFRESH}?force=true")
    assert (403, 0) == (refused.code, served.node.requests.requested)
    assert 200 == (await served.socket("POST", f"{REFRESH}?force=true")).code
    assert served.node.requests.forced_at is not None


async def test_refused_while_terminating(served: Served) -> None:
    """A compute that ends takes no refresh: 412 in the reference's words."""
    served.node.terminate("fast", who="test")
    reply = await served.loopback("POST", REFRESH)
    assert (412, {"error": "invalid compute status: terminated"}) == (reply.code, reply.json)


async def test_ack_of_the_current_marker_is_taken(served: Served) -> None:
    """The marker in force proves that Postgres runs it, and whether the map is ours."""
    marker = served.wrote()
    body = {"marker": str(marker), "map_sha256": "a" * 64, "shard_count": 1, "pid": 7}
    reply = await served.loopback("POST", ACK, json_body=body)
    assert (200, {}) == (reply.code, reply.json)
    assert served.node.acks.latest is not None
    assert served.node.acks.latest.map_matches


async def test_ack_that_complains_of_nothing_ends_the_suspicion(served: Served) -> None:
    """Postgres takes its own complaint back; one that still complains does not."""
    marker = served.wrote()
    body = {"marker": str(marker), "map_sha256": "a" * 64}
    await served.loopback("POST", REFRESH, headers={"X-Refresh-Source": "worker"})
    for suspects, since in ((True, True), (None, True), (False, False)):
        reply = await served.loopback("POST", ACK, json_body={**body, "suspects": suspects})
        assert 200 == reply.code
        assert since == (served.node.requests.suspected_since is not None)


async def test_ack_with_another_map_is_recorded_as_such(served: Served) -> None:
    """A right marker with a wrong map is no proof of the upstream part."""
    marker = served.wrote()
    body = {"marker": str(marker), "map_sha256": "b" * 64}
    assert 200 == (await served.loopback("POST", ACK, json_body=body)).code
    assert served.node.acks.latest is not None
    assert not served.node.acks.latest.map_matches


async def test_ack_of_an_earlier_marker_is_stale(served: Served) -> None:
    """An earlier generation of ours is not refused, and proves nothing."""
    old = served.wrote(1)
    served.wrote(2)
    reply = await served.loopback("POST", ACK, json_body={"marker": str(old)})
    assert (200, {"stale": True}) == (reply.code, reply.json)
    assert served.node.acks.latest is None


async def test_forged_ack_is_refused(served: Served) -> None:
    """A marker with another nonce is 403, counted, and proves nothing."""
    marker = served.wrote()
    forged = str(marker).replace(marker.nonce, "0" * 32)
    reply = await served.loopback("POST", ACK, json_body={"marker": forged})
    assert 403 == reply.code
    assert served.node.acks.latest is None
    assert "1.0" == metric(served, 'compute_ctl_acks_total{answer="unknown"}')


@pytest.mark.parametrize(
    ("body", "code"),
    [(b"{", 400), (b"[]", 422), (b"{}", 422), (b'{"marker": 5}', 422), (b"", 400)],
)
async def test_malformed_ack(served: Served, body: bytes, code: int) -> None:
    """What is no JSON is 400, JSON of another shape 422."""
    reply = await served.loopback(
        "POST", ACK, body=body, headers={"Content-Type": "application/json"}
    )
    assert reply.code == code
    assert reply.json["error"]


async def test_acknowledgement_at_the_socket_is_postgres_alone(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who is only in the socket's group cannot prove anything, even with the marker."""
    body = {"marker": str(served.wrote())}
    with monkeypatch.context() as patch:
        patch.setattr("compute_common.http.auth.user_name", lambda _: "uid 4711")
        assert 403 == (await served.socket("POST", ACK, json_body=body)).code
    assert 200 == (await served.socket("POST", ACK, json_body=body)).code
