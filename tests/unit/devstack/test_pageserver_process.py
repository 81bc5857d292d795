"""The pageserver stand-in as a process: its arguments, its orders, its end."""

import sys
from pathlib import Path

import pytest
from psycopg import OperationalError

from devstack import fork_server
from devstack.client import AdminError
from devstack.launch import Pageserver
from devstack.wait import wait_until
from tests.unit.devstack.clients import (
    SHUTDOWN,
    TENANT,
    TIMELINE,
    StreamClient,
    assert_closed,
    getpage,
    nblocks,
)
from tests.unit.devstack.conftest import PageserverFactory


def test_sigterm(make_pageserver: PageserverFactory) -> None:
    """Waiting and idle clients get 57P01, then the process leaves with status 0."""
    pageserver = make_pageserver()
    with StreamClient(pageserver.url) as waiting, StreamClient(pageserver.url) as idle:
        pageserver.admin.set_tenant("attaching")
        waiting.send(getpage())
        wait_until("the request", lambda: pageserver.admin.stats()["requests"]["getpage"] == 1)
        assert 0 == pageserver.stop()
        assert_closed(waiting, SHUTDOWN)
        assert_closed(idle, SHUTDOWN)


def test_kill(make_pageserver: PageserverFactory) -> None:
    """A crash closes streams without a word, and new connections are refused."""
    pageserver = make_pageserver()
    with StreamClient(pageserver.url) as client:
        pageserver.kill()
        with pytest.raises(OperationalError, match="server closed the connection unexpectedly"):
            client.receive()
    with StreamClient(pageserver.url, login=False) as client:
        assert "FAILED" == client.log_in().name
        assert b"Connection refused" in client.pg.error_message


def test_same_port_after_a_crash(make_pageserver: PageserverFactory) -> None:
    """A new process takes the port of the one that crashed."""
    pageserver = make_pageserver()
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
    done = fork_server.run(
        [sys.executable, "-m", "devstack.pageserver", *good, *arguments],
        timeout=20,
    )
    assert 2 == done.returncode
    assert message in done.stderr.splitlines()[-1]
    assert "" == done.stdout


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
    assert 400 == caught.value.status
    assert caught.value.text
    assert pageserver.admin.stats() == before


def test_reset(pageserver: Pageserver) -> None:
    """After a reset the server is as it was at its start."""
    fresh = pageserver.admin.stats()
    pageserver.admin.set_fault("refuse")
    pageserver.admin.set_fault("silent")
    pageserver.admin.set_shards("none")
    pageserver.admin.set_tenant("attaching")
    pageserver.admin.set_lsn("0/1")
    pageserver.admin.reset()

    with StreamClient(pageserver.url) as client:
        assert client.ask(nblocks()) is not None
        pageserver.admin.reset()
        with pytest.raises(OperationalError):
            client.receive()

    assert pageserver.admin.stats() == fresh
    assert [] == pageserver.admin.faults()
