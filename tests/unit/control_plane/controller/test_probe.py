"""Probes of a pageserver: what counts as an answer, and that a probe has an end."""

import asyncio
import struct
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from control_plane.controller.probe import PROBE_S, PageserverProber, startup_message
from control_plane.decisions.model import StorageNode
from devstack.installation import free_port
from devstack.launch import start_pageserver
from tests.unit.control_plane.controller.raw_server import http, raw_server

TENANT = "9f3c1d5e7a804b26a1c4e85d02f7b369"
MARGIN_S = 10.0
"""What a busy machine may take longer."""


@pytest.fixture
async def prober() -> AsyncIterator[PageserverProber]:
    """A prober, closed after the test."""
    made = PageserverProber()
    yield made
    await made.close()


def node(pg: int, status: int, host: str = "127.0.0.1") -> StorageNode:
    """A node with these ports."""
    return StorageNode(
        id=1, listen_pg_addr=host, listen_pg_port=pg, listen_http_addr=host, listen_http_port=status
    )


def message(kind: bytes, body: bytes = b"") -> bytes:
    """A message of PostgreSQL's protocol."""
    return kind + struct.pack("!i", 4 + len(body)) + body


async def test_a_pageserver_lives_is_stopped_and_dies(
    tmp_path: Path, prober: PageserverProber
) -> None:
    """One of its ports is enough; stopped it is silent, killed it refuses."""
    (tmp_path / "base").mkdir()
    with start_pageserver(
        pgdata=tmp_path, tenant=TENANT, timeline=TENANT, shards="none", log_dir=tmp_path
    ) as pageserver:
        status = int(pageserver.http.rpartition(":")[2])
        both = node(pageserver.port, status)
        for living in (both, node(pageserver.port, free_port()), node(free_port(), status)):
            assert "" == await prober.probe(living)
        pageserver.pause()
        begun = time.monotonic()
        failure = await prober.probe(both)
        assert PROBE_S <= time.monotonic() - begun < PROBE_S + MARGIN_S
        assert f"{both.pg_endpoint}: no answer within 0.3 s" in failure
        assert "/v1/status: no answer in time" in failure
        pageserver.resume()
        assert "" == await prober.probe(both)
        pageserver.kill()
        assert 2 == (await prober.probe(both)).count("connection refused")


@pytest.mark.parametrize(
    "answer",
    [
        message(b"R", struct.pack("!i", 0)),
        message(b"R", struct.pack("!i", 3)),
        message(b"E", b"SFATAL\0C57P03\0Mthe database system is starting up\0\0"),
        message(b"v", struct.pack("!ii", 0, 0)),
        message(b"N", b"\0"),
    ],
)
async def test_each_answer_of_the_protocol_counts(prober: PageserverProber, answer: bytes) -> None:
    """A login asked for, an error, a notice: the server lives. It got a valid StartupMessage."""
    async with raw_server(answer) as server:
        assert "" == await prober.probe(node(server.port, free_port()))
        assert [startup_message()] == server.requests
    assert len(startup_message()) == int.from_bytes(startup_message()[:4], "big")
    assert b"\0\3\0\0" == startup_message()[4:8]


@pytest.mark.parametrize(
    ("answer", "then", "said"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "close", "not PostgreSQL's protocol"),
        (message(b"R")[:3], "close", "closed the connection after 3 bytes"),
        (b"", "close", "closed the connection after 0 bytes"),
        (b"R\xff\xff\xff\xff", "close", "not PostgreSQL's protocol"),
        (b"R\0\0\0", "hold", "no answer within 0.3 s"),
        (None, "hold", "no answer within 0.3 s"),
        (None, "reset", "connection reset by peer"),
    ],
)
async def test_what_is_no_answer(
    prober: PageserverProber, answer: bytes | None, then: str, said: str
) -> None:
    """Nonsense, halves, silence and resets; the reason names the port."""
    async with raw_server(answer, then=then) as server:
        failure = await prober.probe(node(server.port, free_port()))
    assert f"127.0.0.1:{server.port}: " in failure
    assert said in failure
    assert "/v1/status: " in failure  # refused, or late on a busy machine


@pytest.mark.parametrize(("status", "lives"), [(200, True), (401, True), (404, True), (503, False)])
async def test_the_status_is_enough(prober: PageserverProber, status: int, lives: bool) -> None:
    """With a silent libpq port, an answer over HTTP counts, unless a proxy may have made it."""
    async with raw_server(None, then="hold") as silent, raw_server(http(status, {"id": 1})) as web:
        failure = await prober.probe(node(silent.port, web.port))
    assert lives is (failure == "")
    if not lives:
        assert "HTTP status 503" in failure
    assert web.headers.startswith("GET /v1/status HTTP/1.1\r\n")


async def test_one_answer_does_not_wait_for_the_other() -> None:
    """The silent port costs nothing, and its connection is closed."""
    patient = PageserverProber(probe_s=MARGIN_S)
    async with (
        raw_server(None, then="hold") as silent,
        raw_server(message(b"R", bytes(4))) as server,
    ):
        begun = time.monotonic()
        for _ in range(5):
            assert "" == await patient.probe(node(server.port, silent.port))
        assert time.monotonic() - begun < MARGIN_S
    await patient.close()


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a" * 70, "bad\0name", "::1"])
async def test_hosts_that_lead_nowhere(prober: PageserverProber, host: str) -> None:
    """A name that is not found or no name at all, an address nobody listens on."""
    begun = time.monotonic()
    assert "" != await prober.probe(node(free_port(), free_port(), host))
    assert time.monotonic() - begun < PROBE_S + MARGIN_S


async def test_a_late_event_loop_concludes_nothing(prober: PageserverProber) -> None:
    """Where the loop was busy past the deadline, the silence may be its own."""
    async with raw_server(None, then="hold") as silent:
        probing = asyncio.create_task(prober.probe(node(silent.port, silent.port)))
        await asyncio.sleep(0.05)
        time.sleep(PROBE_S + 0.2)  # noqa: ASYNC251 -- the loop is blocked on purpose
        assert "" == await probing


async def test_many_probes_at_once(prober: PageserverProber) -> None:
    """More than may run at once: all end, none leaves a task behind."""
    async with raw_server(None, then="hold") as silent:
        silent_node = node(silent.port, silent.port)
        failures = await asyncio.gather(*(prober.probe(silent_node) for _ in range(80)))
        assert {""} >= {failure for failure in failures if "no answer" not in failure}
        await asyncio.sleep(0)
        left = [task for task in asyncio.all_tasks() if "PageserverProber" in repr(task)]
    assert [] == left
