"""The tenant of the pageserver stand-in: unknown, moving, lagging, sharded."""

import struct

import pytest

from devstack.launch import Pageserver
from tests.unit.devstack.clients import (
    NOT_FOUND,
    OTHER,
    RECONNECT,
    REL,
    SHUTDOWN,
    TENANT,
    TIMELINE,
    SilenceError,
    StreamClient,
    assert_closed,
    error,
    getpage,
    nblocks,
)
from tests.unit.devstack.conftest import PageserverFactory


def test_unknown_tenant_completes_the_handshake(pageserver: Pageserver) -> None:
    """The refusal comes with the first request: a page ends in reconnect, metadata in not found."""
    with StreamClient(pageserver.url, query=False) as client:
        client.query(f"pagestream_v3 {OTHER} {TIMELINE}")
        client.send(getpage())
        assert_closed(client, RECONNECT)
    with StreamClient(pageserver.url, query=False) as client:
        client.query(f"pagestream_v3 {OTHER} {TIMELINE}")
        assert client.ask(nblocks()) is None
        assert [NOT_FOUND] == client.results()
        client.query(f"pagestream_v3 {TENANT} {TIMELINE}")
        assert client.ask(nblocks()) is not None
    assert 3 == pageserver.admin.stats()["misrouted"]


def test_unknown_timeline(pageserver: Pageserver) -> None:
    """A page of an unknown timeline fails in the stream, metadata outside it."""
    with StreamClient(pageserver.url, query=False) as client:
        client.query(f"pagestream_v3 {TENANT} {OTHER}")
        assert client.ask(getpage()) == error(f"Not found: Timeline {TENANT}/{OTHER} was not found")
        assert client.ask(nblocks()) is None
        assert [NOT_FOUND] == client.results()


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
            assert [NOT_FOUND] == two.results()
        else:
            assert_closed(two, metadata)


def test_broken_tenant(pageserver: Pageserver) -> None:
    """A broken tenant is told by name, in the stream for a page."""
    pageserver.admin.set_tenant("broken")
    with StreamClient(pageserver.url) as client:
        assert client.ask(getpage()) == error("Not found: Tenant is broken: broken by order")
        assert client.ask(nblocks()) is None
        assert [("XX000", "Tenant is broken: broken by order")] == client.results()


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
        assert 102 == (client.ask(getpage(lsn=0x100)) or b"\0")[0]
        late = (client.ask(getpage(lsn=0x200)) or b"")[25:]
        assert late.startswith(b"LSN timeout: Timed out while waiting for WAL record at LSN 0/200")
        collected = struct.pack("!BQQQ", 2, 1, 0x70, 1) + REL + struct.pack("!I", 0)
        assert (
            b"Bad request: tried to request a page version that was garbage collected."
            b" requested at 0/70 gc cutoff 0/80\0"
        ) == (client.ask(collected) or b"")[25:]
        client.send(getpage(lsn=0x200))
        pageserver.admin.set_lsn("0/300")
        assert 102 == (client.receive() or b"\0")[0]


def test_shards(make_pageserver: PageserverFactory) -> None:
    """A page of another shard ends in reconnect; metadata needs shard 0."""
    pageserver = make_pageserver(shards="0304", stripe_size=1)
    blocks = struct.pack("!IIIB", 1663, 5, 16384, 0)
    # with a stripe of one block, block 1 hashes as block 2048 does with the usual stripe
    with StreamClient(pageserver.url) as client:
        assert 102 == (client.ask(getpage(1, rel=blocks)) or b"\0")[0]
        assert client.ask(nblocks()) is None
        assert [NOT_FOUND] == client.results()
    with StreamClient(pageserver.url) as client:
        client.send(getpage(0))
        assert_closed(client, RECONNECT)
    pageserver.admin.set_shards(["0004"], 1)
    with StreamClient(pageserver.url) as client:
        assert 102 == (client.ask(getpage(0)) or b"\0")[0]
        assert client.ask(nblocks()) is not None
    assert {"0304": 1, "0004": 1} == pageserver.admin.stats()["pages_by_shard"]
