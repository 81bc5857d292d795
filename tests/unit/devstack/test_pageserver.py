"""The pageserver stand-in as a process: login, the stream, the state of the tenant, its end."""

import struct
import subprocess
import sys
from pathlib import Path

import pytest

from devstack.client import AdminError
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

HEAD = struct.pack("!QQQ", 1, NEWEST, 1)
RECONNECT = ("08006", "reconnect")
SHUTDOWN = ("57P01", "shutdown")
NOT_FOUND = ("XX000", "not found")
OTHER = "11111111111111111111111111111111"


def error(text: str) -> bytes:
    """An in-band error answer to the requests of this file."""
    return b"\x67" + HEAD + text.encode() + b"\0"


def assert_closed(client: StreamClient, reason: tuple[str, str]) -> None:
    """The stream ended for `reason`, and then the server was gone."""
    assert client.receive() is None
    first, second = client.results()
    assert first == reason
    assert second[0] is None
    assert second[1].startswith("server closed the connection unexpectedly")


def test_trust_login(pageserver: Pageserver) -> None:
    """Libpq gets in, sees version 14.1, and starts the stream."""
    with StreamClient(pageserver.url) as client:
        assert client.pg.server_version == 140001
        (connection,) = pageserver.admin.connections()
    assert connection["phase"] == "stream"
    assert connection["version"] == 3


def test_raw_handshake(pageserver: Pageserver) -> None:
    """Each step of the handshake is answered with the reference's bytes."""
    params = b"user\0no_user\0options\0-c neon.compute_mode=replica\0application_name\x004242\0\0"
    with RawClient(pageserver.address) as raw:
        raw.send(bytes.fromhex("00000008 04d21630"))
        assert raw.receive(1) == b"N"
        raw.send(bytes.fromhex("00000008 04d2162f"))
        assert raw.receive(1) == b"N"
        raw.send(struct.pack("!II", len(params) + 8, 196608) + params)
        welcome = raw.receive(9 + 26 + 26 + 25 + 6)
        assert welcome[:9] == bytes.fromhex("52 00000008 00000000")
        assert welcome[-6:] == bytes.fromhex("5a 00000005 49")
        (connection,) = pageserver.admin.connections()
        assert (connection["application_name"], connection["compute_mode"]) == ("4242", "replica")
        query = f"pagestream_v2 {OTHER} {OTHER}".encode() + b"\0"
        raw.send(b"Q" + struct.pack("!I", len(query) + 4) + query)
        assert raw.receive(8) == bytes.fromhex("57 00000007 00 0000")


def test_cancel_request_is_dropped(pageserver: Pageserver) -> None:
    """A cancel request gets no answer but the end of the connection."""
    with RawClient(pageserver.address) as raw:
        raw.send(bytes.fromhex("00000010 04d2162e 00000001 00000002"))
        assert raw.drain() == b""


def test_every_request(pageserver: Pageserver) -> None:
    """All five requests are answered with what the files hold."""
    exists = b"\x00" + HEAD + REL
    dbsize = b"\x03" + HEAD + struct.pack("!I", 5)
    slru = b"\x04" + HEAD + struct.pack("!BI", 0, 0)
    with StreamClient(pageserver.url) as client:
        assert client.ask(exists) == b"\x64" + HEAD + REL + b"\x01"
        assert client.ask(nblocks()) == b"\x65" + HEAD + REL + struct.pack("!I", 2)
        assert client.ask(getpage(1)) == b"\x66" + HEAD + REL + struct.pack("!I", 1) + b"b" * 8192
        size = struct.pack("!Iq", 5, 16384)
        assert client.ask(dbsize) == b"\x68" + HEAD + size
        assert client.ask(slru) == b"\x69" + HEAD + struct.pack("!BII", 0, 0, 1) + b"x" * 8192
    stats = pageserver.admin.stats()
    assert set(stats["requests"].values()) == {1}
    assert stats["pages_sent"] == 1


def test_version_2(pageserver: Pageserver) -> None:
    """Version 2 has neither a request id nor an echo."""
    with StreamClient(pageserver.url, query=False) as client:
        client.query(f"pagestream_v2 {TENANT} {TIMELINE}")
        request = struct.pack("!BQQ", 2, NEWEST, 1) + REL + struct.pack("!I", 0)
        assert client.ask(request) == b"\x66" + b"a" * 8192


def test_pipelined_requests_are_answered_in_order(pageserver: Pageserver) -> None:
    """Requests sent together come back in their order, with their own ids."""
    with StreamClient(pageserver.url) as client:
        for number in range(50):
            client.send(getpage(number % 2, reqid=number))
        answers = [client.receive() for _ in range(50)]
    ids = [struct.unpack_from("!Q", answer or b"", 1)[0] for answer in answers]
    assert ids == list(range(50))
    assert [(answer or b"")[-1:] for answer in answers[:3]] == [b"a", b"b", b"a"]


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
        assert (client.ask(zero) or b"")[25:] == b"Bad request: invalid LSN(0) in request\0"
        old = struct.pack("!BQQQ", 2, 1, 1, 2) + REL + struct.pack("!I", 0)
        assert (client.ask(old) or b"")[25:] == (
            b"Bad request: invalid request with request LSN 0/1 and not_modified_since 0/2\0"
        )
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
        assert client.results() == [("XX000", "unexpected message: CopyDone during COPY")]


def test_refused_query(pageserver: Pageserver) -> None:
    """An unknown command is refused, the next query works."""
    with StreamClient(pageserver.url, query=False) as client:
        result = client.query("select 1")
        assert result.error_message == b"ERROR:  unsupported command select 1\n"
        assert client.results() == []
        client.query(f"pagestream_v3 {TENANT} {TIMELINE}")
        assert client.ask(nblocks()) is not None


def test_unknown_tenant_completes_the_handshake(pageserver: Pageserver) -> None:
    """The refusal comes with the first request: a page ends in reconnect, metadata in not found."""
    with StreamClient(pageserver.url, query=False) as client:
        client.query(f"pagestream_v3 {OTHER} {TIMELINE}")
        client.send(getpage())
        assert_closed(client, RECONNECT)
    with StreamClient(pageserver.url, query=False) as client:
        client.query(f"pagestream_v3 {OTHER} {TIMELINE}")
        assert client.ask(nblocks()) is None
        assert client.results() == [NOT_FOUND]
        client.query(f"pagestream_v3 {TENANT} {TIMELINE}")
        assert client.ask(nblocks()) is not None
    assert pageserver.admin.stats()["misrouted"] == 3


def test_unknown_timeline(pageserver: Pageserver) -> None:
    """A page of an unknown timeline fails in the stream, metadata outside it."""
    with StreamClient(pageserver.url, query=False) as client:
        client.query(f"pagestream_v3 {TENANT} {OTHER}")
        assert client.ask(getpage()) == error(f"Not found: Timeline {TENANT}/{OTHER} was not found")
        assert client.ask(nblocks()) is None
        assert client.results() == [NOT_FOUND]


@pytest.mark.parametrize(
    ("state", "page", "metadata"),
    [
        ("detached", RECONNECT, NOT_FOUND),
        ("secondary", RECONNECT, NOT_FOUND),
        ("stopping", SHUTDOWN, SHUTDOWN),
        ("timeline_stopping", SHUTDOWN, NOT_FOUND),
    ],
)
def test_tenant_states_that_end_the_stream(
    pageserver: Pageserver, state: str, page: tuple[str, str], metadata: tuple[str, str]
) -> None:
    """What an open stream sees when the tenant leaves."""
    with StreamClient(pageserver.url) as one, StreamClient(pageserver.url) as two:
        assert one.ask(getpage()) is not None
        pageserver.admin.set_tenant(state)
        one.send(getpage())
        assert_closed(one, page)
        two.send(nblocks())
        if metadata == NOT_FOUND:
            assert two.receive() is None
            assert two.results() == [NOT_FOUND]
        else:
            assert_closed(two, metadata)


def test_broken_tenant(pageserver: Pageserver) -> None:
    """A broken tenant is told by name, in the stream for a page."""
    pageserver.admin.set_tenant("broken")
    with StreamClient(pageserver.url) as client:
        assert client.ask(getpage()) == error("Not found: Tenant is broken: broken by order")
        assert client.ask(nblocks()) is None
        assert client.results() == [("XX000", "Tenant is broken: broken by order")]


def test_attaching_tenant_answers_when_it_is_active(pageserver: Pageserver) -> None:
    """A request waits silently and is answered at the moment of activation."""
    pageserver.admin.set_tenant("attaching")
    with StreamClient(pageserver.url) as client:
        client.send(getpage())
        with pytest.raises(SilenceError):
            client.receive(0.1)
        pageserver.admin.set_tenant("active")
        assert client.receive() is not None


def test_attaching_tenant_gives_up(make_pageserver: PageserverFactory) -> None:
    """After the activation timeout a page fails in the stream, metadata outside it."""
    pageserver = make_pageserver(extra=["--activation-timeout", "0.05"])
    pageserver.admin.set_tenant("attaching")
    text = "Timed out waiting 5s for tenant active state. Latest state: Some(Attaching)"
    with StreamClient(pageserver.url) as client:
        assert client.ask(getpage()) == error(f"Not found: {text}")
        assert client.ask(nblocks()) is None
        assert client.results() == [("08006", text)]


def test_wal_that_has_not_arrived(make_pageserver: PageserverFactory) -> None:
    """A request waits for its WAL, is answered when it comes, and fails in the stream if not."""
    pageserver = make_pageserver(extra=["--lsn-timeout", "0.2"])
    pageserver.admin.set_lsn("0/100", gc_cutoff="0/80")
    with StreamClient(pageserver.url) as client:
        assert (client.ask(getpage(lsn=0x100)) or b"\0")[0] == 102
        late = (client.ask(getpage(lsn=0x200)) or b"")[25:]
        assert late.startswith(b"LSN timeout: Timed out while waiting for WAL record at LSN 0/200")
        collected = struct.pack("!BQQQ", 2, 1, 0x70, 1) + REL + struct.pack("!I", 0)
        assert (client.ask(collected) or b"")[25:] == (
            b"Bad request: tried to request a page version that was garbage collected."
            b" requested at 0/70 gc cutoff 0/80\0"
        )
        client.send(getpage(lsn=0x200))
        pageserver.admin.set_lsn("0/300")
        assert (client.receive() or b"\0")[0] == 102


def test_shards(make_pageserver: PageserverFactory) -> None:
    """A page of another shard ends in reconnect; metadata needs shard 0."""
    pageserver = make_pageserver(shards="0304", stripe_size=1)
    blocks = struct.pack("!IIIB", 1663, 5, 16384, 0)
    # with a stripe of one block, block 1 hashes as block 2048 does with the usual stripe
    with StreamClient(pageserver.url) as client:
        assert (client.ask(getpage(1, rel=blocks)) or b"\0")[0] == 102
        assert client.ask(nblocks()) is None
        assert client.results() == [NOT_FOUND]
    with StreamClient(pageserver.url) as client:
        client.send(getpage(0))
        assert_closed(client, RECONNECT)
    pageserver.admin.set_shards(["0004"], 1)
    with StreamClient(pageserver.url) as client:
        assert (client.ask(getpage(0)) or b"\0")[0] == 102
        assert client.ask(nblocks()) is not None
    assert pageserver.admin.stats()["pages_by_shard"] == {"0304": 1, "0004": 1}


@pytest.fixture
def keys(tmp_path: Path) -> KeyPair:
    """A key pair whose public half a pageserver can read."""
    return KeyPair.create(tmp_path)


def with_password(pageserver: Pageserver, token: str) -> str:
    """A conninfo with a token."""
    return f"postgresql://no_user:{token}@{pageserver.address}"


def test_token_login(make_pageserver: PageserverFactory, keys: KeyPair) -> None:
    """A token of the tenant opens its stream; libpq is told no server version."""
    pageserver = make_pageserver(auth_key=keys.public_path)
    for token in (keys.token(TENANT), keys.token(scope="pageserverapi")):
        with StreamClient(with_password(pageserver, token)) as client:
            assert client.pg.server_version == 0
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
            assert client.log_in().name == "FAILED"
            assert b"ERROR:  JWT authentication error" in client.pg.error_message


def test_no_token(make_pageserver: PageserverFactory, keys: KeyPair) -> None:
    """Without a token libpq itself gives up."""
    pageserver = make_pageserver(auth_key=keys.public_path)
    with StreamClient(pageserver.url, login=False) as client:
        assert client.log_in().name == "FAILED"
        assert b"fe_sendauth: no password supplied" in client.pg.error_message


def test_token_of_another_tenant(make_pageserver: PageserverFactory, keys: KeyPair) -> None:
    """It logs in, its query is refused, and the connection stays open."""
    pageserver = make_pageserver(auth_key=keys.public_path)
    conninfo = with_password(pageserver, keys.token(OTHER))
    with StreamClient(conninfo, query=False) as client:
        result = client.query(f"pagestream_v3 {TENANT} {TIMELINE}")
        assert result.error_message == b"ERROR:  JWT authentication error\n"
        assert client.results() == []


def test_sigterm(pageserver: Pageserver) -> None:
    """Waiting and idle clients get 57P01, then the process leaves with status 0."""
    with StreamClient(pageserver.url) as waiting, StreamClient(pageserver.url) as idle:
        pageserver.admin.set_tenant("attaching")
        waiting.send(getpage())
        wait_until("the request", lambda: pageserver.admin.stats()["requests"]["getpage"] == 1)
        assert pageserver.stop() == 0
        assert_closed(waiting, SHUTDOWN)
        assert_closed(idle, SHUTDOWN)


def test_kill(pageserver: Pageserver) -> None:
    """A crash closes streams without a word, and new connections are refused."""
    with StreamClient(pageserver.url) as client:
        pageserver.kill()
        with pytest.raises(OperationalError, match="server closed the connection unexpectedly"):
            client.receive()
    with StreamClient(pageserver.url, login=False) as client:
        assert client.log_in().name == "FAILED"
        assert b"Connection refused" in client.pg.error_message


def test_same_port_after_a_crash(
    pageserver: Pageserver, make_pageserver: PageserverFactory
) -> None:
    """A new process takes the port of the one that crashed."""
    with StreamClient(pageserver.url):
        pageserver.kill()
    again = make_pageserver(listen=pageserver.address, name="again")
    with StreamClient(again.url) as client:
        assert client.ask(nblocks()) is not None
    assert again.address == pageserver.address


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--pgdata", "/nowhere"], '"/nowhere" is not a PostgreSQL data directory'),
        (["--tenant", "xyz"], 'invalid id "xyz"'),
        (["--shards", "0404"], 'shard number out of range in "0404"'),
        (["--listen", "localhost"], 'invalid address "localhost"'),
        (["--auth-key", "/nowhere"], "No such file"),
    ],
)
def test_bad_arguments(pgdata: Path, arguments: list[str], message: str) -> None:
    """Bad arguments end with status 2 and one clear line."""
    good = ["--pgdata", str(pgdata), "--tenant", TENANT, "--timeline", TIMELINE]
    done = subprocess.run(
        [sys.executable, "-m", "devstack.pageserver", *good, *arguments],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert done.returncode == 2
    assert message in done.stderr.splitlines()[-1]
    assert done.stdout == ""


def test_port_in_use(pageserver: Pageserver, make_pageserver: PageserverFactory) -> None:
    """A taken port is an error, not a second server."""
    with pytest.raises(Exception, match="Address already in use"):
        make_pageserver(listen=pageserver.address, name="second")


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PUT", "/fault", {"kind": "nonsense"}),
        ("PUT", "/tenant", {"state": "nonsense"}),
        ("PUT", "/shards", {"shards": ["zz"]}),
        ("PUT", "/lsn", {"last_record_lsn": "x"}),
        ("POST", "/disconnect", {"how": "softly"}),
        ("PUT", "/tenant", ["active"]),
    ],
)
def test_bad_orders(pageserver: Pageserver, method: str, path: str, body: object) -> None:
    """A bad order is a 400 with a reason and changes nothing."""
    before = pageserver.admin.stats()
    with pytest.raises(AdminError) as caught:
        pageserver.admin._call(method, path, body)
    assert caught.value.status == 400
    assert caught.value.text
    assert pageserver.admin.stats() == before
