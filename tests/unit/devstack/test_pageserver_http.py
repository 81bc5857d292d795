"""The pageserver stand-in's HTTP port: health, locations, tokens, and its own faults."""

import http.client
import socket
import time
from pathlib import Path

import pytest

from devstack.client import exchange
from devstack.launch import Pageserver
from devstack.tokens import KeyPair
from tests.unit.devstack.clients import (
    QUIET,
    RECONNECT,
    TENANT,
    StreamClient,
    assert_closed,
    assert_healthy,
    getpage,
)
from tests.unit.devstack.conftest import PageserverFactory

STATUS = "/v1/status"
CONFIG = f"/v1/tenant/{TENANT}/location_config"


def attached(generation: int) -> dict[str, object]:
    """A location that serves."""
    return {"mode": "AttachedSingle", "generation": generation}


def test_status(make_pageserver: PageserverFactory) -> None:
    """The node's id, as a heartbeat asks for it."""
    pageserver = make_pageserver(extra=["--node-id", "7"])
    assert (200, {"id": 7}) == exchange(pageserver.http, "GET", STATUS)


def test_attach_and_detach(make_pageserver: PageserverFactory) -> None:
    """A location decides at once whether readers are answered."""
    pageserver = make_pageserver(shards="none")
    with StreamClient(pageserver.url) as client:
        client.send(getpage())
        assert_closed(client, RECONNECT)

    assert 200 == exchange(pageserver.http, "PUT", CONFIG, attached(3))[0]
    with StreamClient(pageserver.url) as client:
        assert client.ask(getpage()) is not None
        status, answer = exchange(pageserver.http, "PUT", CONFIG, attached(2))
        assert (400, "Generation 2 is less than existing 3") == (status, answer["error"])
        assert client.ask(getpage()) is not None
        assert 200 == exchange(pageserver.http, "PUT", CONFIG, {"mode": "Detached"})[0]
        client.send(getpage())
        assert_closed(client, RECONNECT)
    assert 404 == exchange(pageserver.http, "GET", f"/v1/location_config/{TENANT}")[0]


def test_cold_attach_takes_its_time(make_pageserver: PageserverFactory) -> None:
    """Readers wait while a shard is attached; the call returns when it serves."""
    pageserver = make_pageserver(shards="none", extra=["--attach-seconds", "0.3"])

    began = time.monotonic()
    assert 200 == exchange(pageserver.http, "PUT", CONFIG, attached(1))[0]

    assert 0.3 <= time.monotonic() - began
    assert_healthy(pageserver.url)


def test_silent_http_only(pageserver: Pageserver) -> None:
    """Pages are read while the other port says nothing."""
    pageserver.admin.set_fault("silent", phase="http")

    host, _, port = pageserver.http.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=QUIET) as client:
        client.sendall(f"GET {STATUS} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        with pytest.raises(TimeoutError):
            client.recv(1)
    assert_healthy(pageserver.url)


def test_slow_http(pageserver: Pageserver) -> None:
    """The answer is late by the time ordered."""
    pageserver.admin.set_fault("slow", phase="http", delay_ms=200, count=1)

    began = time.monotonic()
    assert 200 == exchange(pageserver.http, "GET", STATUS)[0]

    assert 0.2 <= time.monotonic() - began


def test_closed_http(pageserver: Pageserver) -> None:
    """The connection ends without an answer."""
    pageserver.admin.set_fault("close", phase="http", count=1)
    with pytest.raises((http.client.RemoteDisconnected, ConnectionError)):
        exchange(pageserver.http, "GET", STATUS)


def test_refused_http(pageserver: Pageserver) -> None:
    """The kernel refuses; libpq is served, and the other way round."""
    pageserver.admin.set_fault("refuse", phase="http")
    with pytest.raises(ConnectionRefusedError):
        exchange(pageserver.http, "GET", STATUS)
    assert_healthy(pageserver.url)

    pageserver.admin.clear_faults()
    pageserver.admin.set_fault("refuse")
    assert 200 == exchange(pageserver.http, "GET", STATUS)[0]


def test_token(make_pageserver: PageserverFactory, tmp_path: Path) -> None:
    """Health needs no token; locations need one of scope pageserverapi."""
    keys = KeyPair.create(tmp_path)
    pageserver = make_pageserver(auth_key=keys.public_path)

    def status(path: str, token: str | None) -> int:
        return exchange(pageserver.http, "GET", path, token=token)[0]

    tenant, api = keys.token(TENANT), keys.token(scope="pageserverapi")
    assert 200 == status(STATUS, None)
    assert [401, 403, 200] == [status("/v1/location_config", t) for t in (None, tenant, api)]
