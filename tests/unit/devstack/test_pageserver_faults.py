"""Every fault of the pageserver stand-in, as libpq (or a bare socket) sees it."""

import struct
from pathlib import Path

import pytest

from devstack.client import Farewell
from devstack.launch import Pageserver
from devstack.tokens import KeyPair
from tests.support.wait import wait_until
from tests.unit.devstack.clients import (
    NEWEST,
    REL,
    TENANT,
    TIMELINE,
    OperationalError,
    RawClient,
    SilenceError,
    StreamClient,
    getpage,
    nblocks,
)
from tests.unit.devstack.conftest import PageserverFactory

QUIET = 0.1  # long enough to see that an answer that comes in a millisecond does not come
GONE = "server closed the connection unexpectedly"
STARTUP = struct.pack("!II", 8 + 14, 196608) + b"user\0no_user\0\0"
GOOD_PAGE = struct.pack("!BQQQ", 102, 1, NEWEST, 1) + REL + struct.pack("!I", 0) + b"a" * 8192


def failed_login(pageserver: Pageserver) -> str:
    """What libpq says when the handshake fails."""
    with StreamClient(pageserver.url, login=False) as client:
        assert client.log_in().name == "FAILED"
        return client.pg.error_message.decode()


def assert_healthy(pageserver: Pageserver) -> None:
    """A new client gets a right page."""
    with StreamClient(pageserver.url) as client:
        assert client.ask(getpage()) == GOOD_PAGE


def test_refuse_keeps_port_and_streams(pageserver: Pageserver) -> None:
    """New connections are refused, open ones go on, and the port comes back."""
    with StreamClient(pageserver.url) as client:
        pageserver.admin.set_fault("refuse")
        assert "Connection refused" in failed_login(pageserver)
        assert client.ask(getpage()) == GOOD_PAGE
        assert not pageserver.admin.stats()["listening"]
        assert pageserver.admin.clear_faults("refuse") == 1
    assert_healthy(pageserver)


@pytest.mark.parametrize("phase", ["accept", "startup", "auth"])
@pytest.mark.parametrize("kind", ["close", "reset"])
def test_handshake_is_cut(pageserver: Pageserver, kind: str, phase: str) -> None:
    """FIN or RST in any phase of the handshake fails it; the next one works."""
    pageserver.admin.set_fault(kind, phase=phase, count=1)

    text = failed_login(pageserver)

    assert GONE in text or "Connection reset by peer" in text
    assert_healthy(pageserver)
    assert pageserver.admin.stats()["faults"] == {kind: 1}


def test_reset_is_rst_and_close_is_fin(pageserver: Pageserver) -> None:
    """The two differ on the wire."""
    pageserver.admin.set_fault("close", phase="startup", count=1)
    with RawClient(pageserver.address) as raw:
        raw.send(STARTUP)
        assert raw.drain() == b""
    pageserver.admin.set_fault("reset", phase="startup", count=1)
    with RawClient(pageserver.address) as raw:
        raw.send(STARTUP)
        with pytest.raises(ConnectionResetError):
            raw.drain()


@pytest.mark.parametrize(
    ("phase", "before"),
    [("accept", b""), ("startup", b""), ("auth", bytes.fromhex("52 00000008 00000000"))],
)
def test_silent_handshake(pageserver: Pageserver, phase: str, before: bytes) -> None:
    """The connection stays open and says no more; withdrawing the fault closes it."""
    pageserver.admin.set_fault("silent", phase=phase, count=1)
    with RawClient(pageserver.address) as raw:
        raw.send(STARTUP)
        assert raw.receive(len(before)) == before
        assert raw.silent_for(QUIET)
        pageserver.admin.clear_faults()
        assert raw.drain() == b""


def test_silent_handshake_as_libpq_sees_it(pageserver: Pageserver) -> None:
    """Libpq waits for ever: only its caller's deadline ends it."""
    pageserver.admin.set_fault("silent", phase="accept")
    with StreamClient(pageserver.url, login=False) as client, pytest.raises(SilenceError):
        client.log_in(QUIET)


def test_auth_fail(pageserver: Pageserver) -> None:
    """A trusted client is refused as one with a bad token is."""
    pageserver.admin.set_fault("auth_fail", count=1)

    assert "JWT authentication error" in failed_login(pageserver)
    assert_healthy(pageserver)


def test_silent_query(pageserver: Pageserver) -> None:
    """The pagestream query is not answered."""
    pageserver.admin.set_fault("silent", phase="pagestream", count=1)
    with StreamClient(pageserver.url, query=False) as client, pytest.raises(SilenceError):
        client.query(f"pagestream_v3 {TENANT} {TIMELINE}", timeout=QUIET)


def test_silent_response(pageserver: Pageserver) -> None:
    """A request is not answered; other connections are served; the client may leave."""
    pageserver.admin.set_fault("silent", request="getpage", count=1)
    with StreamClient(pageserver.url) as client:
        client.send(getpage())
        with pytest.raises(SilenceError):
            client.receive(QUIET)
        assert_healthy(pageserver)
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
        assert client.pg.error_message == b""
        results = client.results()
    assert [state for state, _ in results][: len(told)] == [state for state, _ in told]
    for (_, text), (_, expected) in zip(results, told, strict=False):
        assert text.startswith(expected)
    assert_healthy(pageserver)


def test_not_found_leaves_the_connection_usable(pageserver: Pageserver) -> None:
    """After the refusal the same connection takes a new query."""
    pageserver.admin.set_fault("not_found", request="nblocks", count=1)
    with StreamClient(pageserver.url) as client:
        assert client.ask(getpage()) == GOOD_PAGE
        assert client.ask(nblocks()) is None
        assert client.results() == [("XX000", "not found")]
        client.query(f"pagestream_v3 {TENANT} {TIMELINE}")
        assert client.ask(getpage()) == GOOD_PAGE


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
        assert client.ask(getpage()) == GOOD_PAGE
    assert pageserver.admin.stats()["errors_sent"] == 1


@pytest.mark.parametrize("text", [None, "the pageserver is not in the mood"])
def test_refuse_query(pageserver: Pageserver, text: str | None) -> None:
    """The query is refused and put fails, as with a mismatched token."""
    pageserver.admin.set_fault("refuse_query", text=text, count=1)
    with StreamClient(pageserver.url, query=False) as client:
        result = client.query(f"pagestream_v3 {TENANT} {TIMELINE}")
        expected = text or "JWT authentication error"
        assert result.error_message.decode() == f"ERROR:  {expected}\n"
        with pytest.raises(OperationalError, match="no COPY in progress"):
            client.send(getpage())


def test_auth_fail_with_tokens(make_pageserver: PageserverFactory, tmp_path: Path) -> None:
    """A good token is refused once."""
    keys = KeyPair.create(tmp_path)
    pageserver = make_pageserver(auth_key=keys.public_path)
    pageserver.admin.set_fault("auth_fail", count=1)
    conninfo = f"postgresql://no_user:{keys.token(TENANT)}@{pageserver.address}"
    with StreamClient(conninfo, login=False) as client:
        assert client.log_in().name == "FAILED"
        assert b"ERROR:  JWT authentication error" in client.pg.error_message
    with StreamClient(conninfo) as client:
        assert client.ask(getpage()) == GOOD_PAGE


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
        assert client.ask(getpage()) == GOOD_PAGE


def test_slow(pageserver: Pageserver) -> None:
    """An answer comes late, and right."""
    pageserver.admin.set_fault("slow", delay_ms=200, count=1)
    with StreamClient(pageserver.url) as client:
        client.send(getpage())
        with pytest.raises(SilenceError):
            client.receive(QUIET)
        assert client.receive() == GOOD_PAGE


def test_idle_client_is_sent_away(make_pageserver: PageserverFactory) -> None:
    """After the idle timeout the reason waits in the client's socket: put works, then -1."""
    pageserver = make_pageserver(extra=["--idle-timeout", "0.05"])
    with StreamClient(pageserver.url) as client:
        wait_until("the end", lambda: not pageserver.admin.connections())
        client.send(getpage())
        assert client.receive() is None
        assert client.results()[0] == ("08006", "timed out")


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
        assert pageserver.admin.disconnect(how) == 1
        assert idle.receive() is None
        assert idle.results()[0] == told
        pageserver.admin.set_tenant("active")
        assert busy.receive() == GOOD_PAGE


@pytest.mark.parametrize("how", ["fin", "rst"])
def test_disconnect_without_a_word(pageserver: Pageserver, how: Farewell) -> None:
    """All connections can be cut, the busy ones too."""
    with StreamClient(pageserver.url) as client, RawClient(pageserver.address) as raw:
        wait_until("both", lambda: len(pageserver.admin.connections()) == 2)
        assert pageserver.admin.disconnect(how, idle_only=False) == 2
        with pytest.raises(OperationalError):
            client.receive()
        if how == "fin":
            assert raw.drain() == b""
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
        assert client.receive() == GOOD_PAGE
