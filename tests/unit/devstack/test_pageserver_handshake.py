"""Faults of the pageserver stand-in before the stream, as libpq or a bare socket sees them."""

import struct
from pathlib import Path

import pytest
from psycopg import OperationalError

from devstack.launch import Pageserver
from devstack.tokens import KeyPair
from tests.unit.devstack.clients import (
    GONE,
    GOOD_PAGE,
    QUIET,
    TENANT,
    TIMELINE,
    RawClient,
    SilenceError,
    StreamClient,
    assert_healthy,
    getpage,
)
from tests.unit.devstack.conftest import PageserverFactory

STARTUP = struct.pack("!II", 8 + 14, 196608) + b"user\0no_user\0\0"


def failed_login(pageserver: Pageserver) -> str:
    """What libpq says when the handshake fails."""
    with StreamClient(pageserver.url, login=False) as client:
        assert "FAILED" == client.log_in().name
        return client.pg.error_message.decode()


def test_refuse_keeps_port_and_streams(pageserver: Pageserver) -> None:
    """New connections are refused, open ones go on, and the port comes back."""
    with StreamClient(pageserver.url) as client:
        pageserver.admin.set_fault("refuse")
        assert "Connection refused" in failed_login(pageserver)
        assert GOOD_PAGE == client.ask(getpage())
        assert not pageserver.admin.stats()["listening"]
        assert 1 == pageserver.admin.clear_faults("refuse")
    assert_healthy(pageserver.url)


@pytest.mark.parametrize("phase", ["accept", "startup", "auth"])
@pytest.mark.parametrize("kind", ["close", "reset"])
def test_handshake_is_cut(pageserver: Pageserver, kind: str, phase: str) -> None:
    """FIN or RST in any phase of the handshake fails it; the next one works."""
    pageserver.admin.set_fault(kind, phase=phase, count=1)

    text = failed_login(pageserver)

    assert GONE in text or "Connection reset by peer" in text
    assert_healthy(pageserver.url)
    assert pageserver.admin.stats()["faults"] == {kind: 1}


def test_reset_is_rst_and_close_is_fin(pageserver: Pageserver) -> None:
    """The two differ on the wire."""
    pageserver.admin.set_fault("close", phase="startup", count=1)
    with RawClient(pageserver.address) as raw:
        raw.send(STARTUP)
        assert b"" == raw.drain()
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
        assert b"" == raw.drain()


def test_silent_handshake_as_libpq_sees_it(pageserver: Pageserver) -> None:
    """Libpq waits for ever: only its caller's deadline ends it."""
    pageserver.admin.set_fault("silent", phase="accept")
    with StreamClient(pageserver.url, login=False) as client, pytest.raises(SilenceError):
        client.log_in(QUIET)


def test_auth_fail(pageserver: Pageserver) -> None:
    """A trusted client is refused as one with a bad token is."""
    pageserver.admin.set_fault("auth_fail", count=1)

    assert "JWT authentication error" in failed_login(pageserver)
    assert_healthy(pageserver.url)


def test_silent_query(pageserver: Pageserver) -> None:
    """The pagestream query is not answered."""
    pageserver.admin.set_fault("silent", phase="pagestream", count=1)
    with StreamClient(pageserver.url, query=False) as client, pytest.raises(SilenceError):
        client.query(f"pagestream_v3 {TENANT} {TIMELINE}", timeout=QUIET)


@pytest.mark.parametrize("text", [None, "the pageserver is not in the mood"])
def test_refuse_query(pageserver: Pageserver, text: str | None) -> None:
    """The query is refused and put fails, as with a mismatched token."""
    pageserver.admin.set_fault("refuse_query", text=text, count=1)
    with StreamClient(pageserver.url, query=False) as client:
        result = client.query(f"pagestream_v3 {TENANT} {TIMELINE}")
        expected = text or "JWT authentication error"
        assert f"ERROR:  {expected}\n" == result.error_message.decode()
        with pytest.raises(OperationalError, match="no COPY in progress"):
            client.send(getpage())


def test_auth_fail_with_tokens(make_pageserver: PageserverFactory, tmp_path: Path) -> None:
    """A good token is refused once."""
    keys = KeyPair.create(tmp_path)
    pageserver = make_pageserver(auth_key=keys.public_path)
    pageserver.admin.set_fault("auth_fail", count=1)
    conninfo = f"postgresql://no_user:{keys.token(TENANT)}@{pageserver.address}"
    with StreamClient(conninfo, login=False) as client:
        assert "FAILED" == client.log_in().name
        assert b"ERROR:  JWT authentication error" in client.pg.error_message
    with StreamClient(conninfo) as client:
        assert GOOD_PAGE == client.ask(getpage())
