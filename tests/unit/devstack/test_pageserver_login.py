"""Logging in to the pageserver stand-in, with and without a token."""

import struct
from pathlib import Path

from devstack.launch import Pageserver
from devstack.tokens import KeyPair
from tests.unit.devstack.clients import (
    OTHER,
    TENANT,
    TIMELINE,
    RawClient,
    StreamClient,
    nblocks,
)
from tests.unit.devstack.conftest import PageserverFactory


def test_trust_login(pageserver: Pageserver) -> None:
    """Libpq gets in, sees version 14.1, and starts the stream."""
    with StreamClient(pageserver.url) as client:
        assert 140001 == client.pg.server_version
        (connection,) = pageserver.admin.connections()
    assert "stream" == connection["phase"]
    assert 3 == connection["version"]


def test_raw_handshake(pageserver: Pageserver) -> None:
    """Each step of the handshake is answered with the reference's bytes."""
    params = b"user\0no_user\0options\0-c neon.compute_mode=replica\0application_name\x004242\0\0"
    with RawClient(pageserver.address) as raw:
        raw.send(bytes.fromhex("00000008 04d21630"))
        assert b"N" == raw.receive(1)
        raw.send(bytes.fromhex("00000008 04d2162f"))
        assert b"N" == raw.receive(1)
        raw.send(struct.pack("!II", len(params) + 8, 196608) + params)
        welcome = raw.receive(9 + 26 + 26 + 25 + 6)
        assert welcome[:9] == bytes.fromhex("52 00000008 00000000")
        assert welcome[-6:] == bytes.fromhex("5a 00000005 49")
        (connection,) = pageserver.admin.connections()
        assert ("4242", "replica") == (connection["application_name"], connection["compute_mode"])
        query = f"pagestream_v2 {OTHER} {OTHER}".encode() + b"\0"
        raw.send(b"Q" + struct.pack("!I", len(query) + 4) + query)
        assert raw.receive(8) == bytes.fromhex("57 00000007 00 0000")


def test_cancel_request_is_dropped(pageserver: Pageserver) -> None:
    """A cancel request gets no answer but the end of the connection."""
    with RawClient(pageserver.address) as raw:
        raw.send(bytes.fromhex("00000010 04d2162e 00000001 00000002"))
        assert b"" == raw.drain()


def with_password(pageserver: Pageserver, token: str) -> str:
    """A conninfo with a token."""
    return f"postgresql://no_user:{token}@{pageserver.address}"


def test_token_login(make_pageserver: PageserverFactory, keys: KeyPair) -> None:
    """A token of the tenant opens its stream; libpq is told no server version."""
    pageserver = make_pageserver(auth_key=keys.public_path)
    for token in (keys.token(TENANT), keys.token(scope="pageserverapi")):
        with StreamClient(with_password(pageserver, token)) as client:
            assert 0 == client.pg.server_version
            assert client.ask(nblocks()) is not None


def test_refused_tokens(make_pageserver: PageserverFactory, keys: KeyPair, tmp_path: Path) -> None:
    """A token of another key, scope or form is refused at login without a reason."""
    other = tmp_path / "other"
    other.mkdir()
    pageserver = make_pageserver(auth_key=keys.public_path)
    for token in (
        KeyPair.create(other).token(TENANT),
        keys.token(scope="tenant"),
        keys.token(TENANT, scope="safekeeperdata"),
        "nonsense",
    ):
        with StreamClient(with_password(pageserver, token), login=False) as client:
            assert "FAILED" == client.log_in().name
            assert b"ERROR:  JWT authentication error" in client.pg.error_message


def test_no_token(make_pageserver: PageserverFactory, keys: KeyPair) -> None:
    """Without a token libpq itself gives up."""
    pageserver = make_pageserver(auth_key=keys.public_path)
    with StreamClient(pageserver.url, login=False) as client:
        assert "FAILED" == client.log_in().name
        assert b"fe_sendauth: no password supplied" in client.pg.error_message


def test_token_of_another_tenant(make_pageserver: PageserverFactory, keys: KeyPair) -> None:
    """It logs in, its query is refused, and the connection stays open."""
    pageserver = make_pageserver(auth_key=keys.public_path)
    conninfo = with_password(pageserver, keys.token(OTHER))
    with StreamClient(conninfo, query=False) as client:
        result = client.query(f"pagestream_v3 {TENANT} {TIMELINE}")
        assert b"ERROR:  JWT authentication error\n" == result.error_message
        assert [] == client.results()
