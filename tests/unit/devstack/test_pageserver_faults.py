"""Faults of the pageserver stand-in in a stream, as libpq sees them."""

import struct

import pytest
from psycopg import OperationalError

from devstack.client import Farewell
from devstack.launch import Pageserver
from devstack.wait import wait_until
from tests.unit.devstack.clients import (
    GONE,
    GOOD_PAGE,
    NEWEST,
    QUIET,
    TENANT,
    TIMELINE,
    RawClient,
    SilenceError,
    StreamClient,
    assert_healthy,
    getpage,
    nblocks,
)
from tests.unit.devstack.conftest import PageserverFactory


def test_silent_response(pageserver: Pageserver) -> None:
    """A request is not answered; other connections are served; the client may leave."""
    pageserver.admin.set_fault("silent", request="getpage", count=1)
    with StreamClient(pageserver.url) as client:
        client.send(getpage())
        with pytest.raises(SilenceError):
            client.receive(QUIET)
        assert_healthy(pageserver.url)
        wait_until("the healthy one to leave", lambda: len(pageserver.admin.connections()) == 1)
    wait_until("the silent one to be gone", lambda: not pageserver.admin.connections())


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("reconnect", [("08006", "reconnect"), (None, GONE)]),
        ("shutdown", [("57P01", "shutdown"), (None, GONE)]),
        ("timed_out", [("08006", "timed out")]),
        ("not_found", [("XX000", "not found")]),
    ],
)
def test_stream_ends_with_a_reason(
    pageserver: Pageserver, kind: str, told: list[tuple[str | None, str]]
) -> None:
    """Libpq says -1 with an empty message; PQgetResult tells the reason."""
    pageserver.admin.set_fault(kind, count=1)
    with StreamClient(pageserver.url) as client:
        client.send(getpage())
        assert client.receive() is None
        assert b"" == client.pg.error_message
        results = client.results()
    assert [state for state, _ in results][: len(told)] == [state for state, _ in told]
    for (_, text), (_, expected) in zip(results, told, strict=False):
        assert text.startswith(expected)
    assert_healthy(pageserver.url)


def test_not_found_leaves_the_connection_usable(pageserver: Pageserver) -> None:
    """After the refusal the same connection takes a new query."""
    pageserver.admin.set_fault("not_found", request="nblocks", count=1)
    with StreamClient(pageserver.url) as client:
        assert GOOD_PAGE == client.ask(getpage())
        assert client.ask(nblocks()) is None
        assert [("XX000", "not found")] == client.results()
        client.query(f"pagestream_v3 {TENANT} {TIMELINE}")
        assert GOOD_PAGE == client.ask(getpage())


@pytest.mark.parametrize("kind", ["close", "reset"])
def test_stream_is_cut(pageserver: Pageserver, kind: str) -> None:
    """FIN and RST look the same to libpq: consuming input fails."""
    pageserver.admin.set_fault(kind, phase="response", count=1)
    with StreamClient(pageserver.url) as client:
        client.send(getpage())
        with pytest.raises(OperationalError, match=f"{GONE}|Connection reset by peer"):
            client.receive()
        assert client.broken


def test_half_message_then_fin(pageserver: Pageserver) -> None:
    """A message that is cut by FIN never arrives."""
    pageserver.admin.set_fault("half_message", end="fin", count=1)
    with StreamClient(pageserver.url) as client:
        client.send(getpage())
        with pytest.raises(OperationalError, match=GONE):
            client.receive()


def test_half_message_then_silence(pageserver: Pageserver) -> None:
    """Half a message is no answer, and nothing follows."""
    pageserver.admin.set_fault("half_message", count=1)
    with StreamClient(pageserver.url) as client:
        client.send(getpage())
        with pytest.raises(SilenceError):
            client.receive(QUIET)
        assert not client.broken


def test_bad_framing(pageserver: Pageserver) -> None:
    """A length below 4 makes libpq lose synchronisation (-2)."""
    pageserver.admin.set_fault("bad_framing", count=1)
    with StreamClient(pageserver.url) as client:
        client.send(getpage())
        with pytest.raises(OperationalError, match=r'lost synchronization.*type "d", length 1'):
            client.receive()


def test_copy_done(pageserver: Pageserver) -> None:
    """The copy ends without an error, and libpq still takes data."""
    pageserver.admin.set_fault("copy_done", count=1)
    with StreamClient(pageserver.url) as client:
        client.send(getpage())
        assert client.receive() is None
        client.send(getpage())


def test_copy_fail(pageserver: Pageserver) -> None:
    """Libpq does not understand it: one error, and then PQgetResult would wait for ever."""
    pageserver.admin.set_fault("copy_fail", count=1)
    with StreamClient(pageserver.url) as client:
        client.send(getpage())
        assert client.receive() is None
        ((state, text),) = client.results(limit=1)
        assert state is None
        assert text.startswith('unexpected response from server; first received character was "f"')
        assert client.pg.is_busy()


def test_error(pageserver: Pageserver) -> None:
    """An in-band error with a text of choice; the stream goes on."""
    pageserver.admin.set_fault("error", text="LSN timeout: ordered", count=1)
    head = struct.pack("!BQQQ", 103, 1, NEWEST, 1)
    with StreamClient(pageserver.url) as client:
        assert client.ask(getpage()) == head + b"LSN timeout: ordered\0"
        assert GOOD_PAGE == client.ask(getpage())
    assert 1 == pageserver.admin.stats()["errors_sent"]


@pytest.mark.parametrize(
    ("kind", "fields", "expected"),
    [
        ("wrong_echo", {"field": "blkno"}, GOOD_PAGE[:41] + b"\x01" + GOOD_PAGE[42:]),
        ("wrong_echo", {"field": "reqid"}, GOOD_PAGE[:8] + b"\x00" + GOOD_PAGE[9:]),
        ("wrong_tag", {}, b"\x96" + GOOD_PAGE[1:]),
        ("wrong_type", {}, b"\x65" + GOOD_PAGE[1:38] + struct.pack("!I", 1)),
        ("truncated", {}, GOOD_PAGE[:-1]),
        ("trailing", {}, GOOD_PAGE + b"\0"),
    ],
)
def test_nonsense(
    pageserver: Pageserver, kind: str, fields: dict[str, str], expected: bytes
) -> None:
    """The framing is right, the answer is not; the next one is."""
    pageserver.admin.set_fault(kind, count=1, field=fields.get("field"))
    with StreamClient(pageserver.url) as client:
        assert client.ask(getpage()) == expected
        assert GOOD_PAGE == client.ask(getpage())


def test_slow(pageserver: Pageserver) -> None:
    """An answer comes late, and right."""
    pageserver.admin.set_fault("slow", delay_ms=200, count=1)
    with StreamClient(pageserver.url) as client:
        client.send(getpage())
        with pytest.raises(SilenceError):
            client.receive(QUIET)
        assert GOOD_PAGE == client.receive()


def test_idle_client_is_sent_away(make_pageserver: PageserverFactory) -> None:
    """After the idle timeout the reason waits in the client's socket: put works, then -1."""
    pageserver = make_pageserver(extra=["--idle-timeout", "0.05"])
    with StreamClient(pageserver.url) as client:
        wait_until("the end", lambda: not pageserver.admin.connections())
        client.send(getpage())
        assert client.receive() is None
        assert ("08006", "timed out") == client.results()[0]


@pytest.mark.parametrize(
    ("how", "told"), [("shutdown", ("57P01", "shutdown")), ("timed_out", ("08006", "timed out"))]
)
def test_disconnect_with_a_reason(
    pageserver: Pageserver, how: Farewell, told: tuple[str, str]
) -> None:
    """Idle streams are ended with a reason; busy ones are left alone."""
    with StreamClient(pageserver.url) as idle, StreamClient(pageserver.url) as busy:
        pageserver.admin.set_tenant("attaching")
        busy.send(getpage())
        wait_until("the request", lambda: pageserver.admin.stats()["requests"]["getpage"] == 1)
        assert 1 == pageserver.admin.disconnect(how)
        assert idle.receive() is None
        assert idle.results()[0] == told
        pageserver.admin.set_tenant("active")
        assert GOOD_PAGE == busy.receive()


@pytest.mark.parametrize("how", ["fin", "rst"])
def test_disconnect_without_a_word(pageserver: Pageserver, how: Farewell) -> None:
    """All connections can be cut, the busy ones too."""
    with StreamClient(pageserver.url) as client, RawClient(pageserver.address) as raw:
        wait_until("both", lambda: len(pageserver.admin.connections()) == 2)
        assert 2 == pageserver.admin.disconnect(how, idle_only=False)
        with pytest.raises(OperationalError):
            client.receive()
        if how == "fin":
            assert b"" == raw.drain()
        else:
            with pytest.raises(ConnectionResetError):
                raw.drain()


def test_paused_server_is_silent(pageserver: Pageserver) -> None:
    """A stopped process accepts and says nothing; it goes on where it was."""
    with StreamClient(pageserver.url) as client:
        pageserver.pause()
        client.send(getpage())
        with pytest.raises(SilenceError):
            client.receive(QUIET)
        pageserver.resume()
        assert GOOD_PAGE == client.receive()
