"""The pageserver stand-in's page stream: requests, answers, errors in the stream."""

import struct

import pytest

from devstack.launch import Pageserver
from tests.unit.devstack.clients import (
    HEAD,
    NEWEST,
    REL,
    TENANT,
    TIMELINE,
    StreamClient,
    error,
    getpage,
    nblocks,
)


def test_every_request(pageserver: Pageserver) -> None:
    """All five requests are answered with what the files hold."""
    exists = b"\x00" + HEAD + REL
    dbsize = b"\x03" + HEAD + struct.pack("!I", 5)
    slru = b"\x04" + HEAD + struct.pack("!BI", 0, 0)
    with StreamClient(pageserver.url) as client:
        assert b"\x64" + HEAD + REL + b"\x01" == client.ask(exists)
        assert client.ask(nblocks()) == b"\x65" + HEAD + REL + struct.pack("!I", 2)
        assert client.ask(getpage(1)) == b"\x66" + HEAD + REL + struct.pack("!I", 1) + b"b" * 8192
        size = struct.pack("!Iq", 5, 16384)
        assert client.ask(dbsize) == b"\x68" + HEAD + size
        assert client.ask(slru) == b"\x69" + HEAD + struct.pack("!BII", 0, 0, 1) + b"x" * 8192
    stats = pageserver.admin.stats()
    assert {1} == set(stats["requests"].values())
    assert 1 == stats["pages_sent"]


def test_version_2(pageserver: Pageserver) -> None:
    """Version 2 has neither a request id nor an echo."""
    with StreamClient(pageserver.url, query=False) as client:
        client.query(f"pagestream_v2 {TENANT} {TIMELINE}")
        request = struct.pack("!BQQ", 2, NEWEST, 1) + REL + struct.pack("!I", 0)
        assert b"\x66" + b"a" * 8192 == client.ask(request)


def test_pipelined_requests_are_answered_in_order(pageserver: Pageserver) -> None:
    """Requests sent together come back in their order, with their own ids."""
    with StreamClient(pageserver.url) as client:
        for number in range(50):
            client.send(getpage(number % 2, reqid=number))
        answers = [client.receive() for _ in range(50)]
    ids = [struct.unpack_from("!Q", answer or b"", 1)[0] for answer in answers]
    assert ids == list(range(50))
    assert [b"a", b"b", b"a"] == [(answer or b"")[-1:] for answer in answers[:3]]


def test_in_band_errors_leave_the_stream_usable(pageserver: Pageserver) -> None:
    """A missing relation, a bad LSN and a bad SLRU kind fail in the stream, which goes on."""
    missing = struct.pack("!IIIB", 1663, 5, 999, 0)
    with StreamClient(pageserver.url) as client:
        assert client.ask(getpage(rel=missing)) == error("Read error")
        assert client.ask(nblocks(rel=missing)) == error("Read error")
        assert client.ask(b"\x04" + HEAD + struct.pack("!BI", 9, 0)) == error(
            "Bad request: invalid SLRU kind"
        )
        zero = struct.pack("!BQQQ", 2, 1, 0, 0) + REL + struct.pack("!I", 0)
        assert b"Bad request: invalid LSN(0) in request\0" == (client.ask(zero) or b"")[25:]
        old = struct.pack("!BQQQ", 2, 1, 1, 2) + REL + struct.pack("!I", 0)
        assert (
            b"Bad request: invalid request with request LSN 0/1 and not_modified_since 0/2\0"
        ) == (client.ask(old) or b"")[25:]
        assert (client.ask(getpage(2)) or b"")[-8192:] == bytes(8192)


@pytest.mark.parametrize(
    ("payload", "text"),
    [
        (b"\x63" + HEAD, "invalid tag 99"),
        (b"\x02" + HEAD, "failed to fill whole buffer"),
    ],
)
def test_undecodable_request_ends_the_copy(
    pageserver: Pageserver, payload: bytes, text: str
) -> None:
    """A request that is none is refused outside the stream; the connection takes a new query."""
    with StreamClient(pageserver.url) as client:
        assert client.ask(payload) is None
        assert client.results() == [("XX000", text)]
        client.query(f"pagestream_v3 {TENANT} {TIMELINE}")
        assert client.ask(nblocks()) is not None


def test_copy_done_from_the_client(pageserver: Pageserver) -> None:
    """A client that ends the copy is told that this was unexpected."""
    with StreamClient(pageserver.url) as client:
        client.pg.put_copy_end()
        client.pg.flush()
        assert client.receive() is None
        assert [("XX000", "unexpected message: CopyDone during COPY")] == client.results()


def test_refused_query(pageserver: Pageserver) -> None:
    """An unknown command is refused, the next query works."""
    with StreamClient(pageserver.url, query=False) as client:
        result = client.query("select 1")
        assert b"ERROR:  unsupported command select 1\n" == result.error_message
        assert [] == client.results()
        client.query(f"pagestream_v3 {TENANT} {TIMELINE}")
        assert client.ask(nblocks()) is not None
