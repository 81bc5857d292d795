"""A document may name several pageservers for a shard: the next is used before anybody is asked."""

import json
from typing import Any

import pytest

from devstack.compute import Compute
from devstack.daemon import Daemon
from devstack.fresh_compute import ROWS as BACKUP_ROWS
from devstack.fresh_compute import FreshCompute
from devstack.wait import wait_until
from tests.support.queries import running_queries

ROWS = 20_000


def moves(daemon: Daemon) -> list[str]:
    """Return what the history says of moves between pageservers that a document names."""
    text = (daemon.pgdata / "compute_ctl" / "history.jsonl").read_text()
    entries = [json.loads(line) for line in text.splitlines()]
    return [one["reason"] for one in entries if one.get("who") == "candidate"]


@pytest.mark.parametrize("how", ["silent", "drop"])
def test_the_other_one_is_used_without_the_control_plane(pulling: Compute, how: str) -> None:
    """The control plane is away when the pageserver dies: the pages come from the other one."""
    scan = pulling.fill(ROWS)
    a, b = pulling.pageserver("a"), pulling.pageserver("b")
    pulling.publish([a, b])
    daemon = pulling.start_daemon()
    with pulling.postgres.connect() as session:
        assert (ROWS,) == session.execute(scan.encode()).fetchone()
        pulling.faults.strike(how)
        assert 0 == b.admin.stats()["pages_sent"]
        a.kill()

        assert (ROWS,) == session.execute(scan.encode()).fetchone()
    assert b.url == pulling.setting("neon.pageserver_connstring")
    reason = f"shard 0: pageserver {b.address} instead of {a.address}"
    wait_until("the history", lambda: [reason] == moves(daemon))
    shown: dict[str, Any] = {"shard": 0, "in_use": b.address, "others": [a.address]}
    assert [shown] == daemon.status()["config"]["candidates"]
    pulling.faults.clear()
    pulling.wait_in_sync()


def test_what_is_in_use_stays(compute: Compute) -> None:
    """Neither a pageserver that is back nor another document moves it; another list does."""
    scan = compute.fill(ROWS)
    a, b = compute.pageserver("a"), compute.pageserver("b")
    compute.publish([a, b])
    daemon = compute.start_daemon()
    a.admin.set_fault("reconnect")
    assert ROWS == compute.postgres.value(scan)
    a.admin.clear_faults()

    def in_use() -> str:
        return compute.setting("neon.pageserver_connstring")

    compute.publish([a, b], settings={"work_mem": "5MB"})
    assert "applied" == daemon.refresh()
    assert b.url == in_use()
    daemon.stop()
    daemon.start()
    compute.wait_in_sync()
    assert ("unchanged", b.url) == (daemon.refresh(), in_use())
    compute.publish([b, a], settings={"work_mem": "5MB"})
    assert ("applied", b.url) == (daemon.refresh(), in_use())
    compute.publish([a, b], settings={"work_mem": "5MB"})
    assert ("applied", a.url) == (daemon.refresh(), in_use())


def test_from_nothing(fresh: FreshCompute) -> None:
    """The base backup comes from the second one, and so do the pages, with one document."""
    a, b = fresh.pageserver("a"), fresh.pageserver("b")
    a.kill()
    fresh.publish([a.url, b.url])
    fresh.daemon.start()

    cluster = fresh.wait_running()["cluster"]

    assert (2, b.address) == (cluster["tries"], cluster["pageserver"])
    assert BACKUP_ROWS == fresh.query(fresh.stored.scan)


def test_leases_on_all(compute: Compute) -> None:
    """A static compute holds a lease on all pageservers: any of them may become the one in use."""
    a, b = compute.pageserver("a"), compute.pageserver("b")
    document = compute.publish([a, b])
    document["spec"] |= {"mode": {"Static": "0/1F00"}, "generation": 2}
    compute.publish_document(document)
    daemon = compute.start_daemon(in_sync=False)
    wait_until("both", lambda: [1, 1] == [one.admin.stats()["leases"] for one in (a, b)])
    daemon.wait_status("the lease", lambda it: it["postgres"]["lease"]["valid_until"])


def test_all_shards_of_a_dead_pageserver_move(compute: Compute) -> None:
    """Each to the other one that the document names for it; those of the living one stay."""
    stripe = 16
    scan = compute.fill(ROWS)
    a = compute.pageserver("a", shards="0004,0204", stripe_size=stripe)
    b = compute.pageserver("b", shards="0104,0304", stripe_size=stripe)
    c = compute.pageserver("c", shards="0004,0104,0204,0304", stripe_size=stripe)
    compute.publish([a, c], [b, c], [a, c], [b, c], stripe_size=stripe)
    daemon = compute.start_daemon()
    assert ROWS == compute.postgres.value(scan)
    a.kill()

    assert ROWS == compute.postgres.value(scan)
    assert f"{c.url},{b.url},{c.url},{b.url}" == compute.setting("neon.pageserver_connstring")
    wait_until("the history", lambda: 1 == len(moves(daemon)))


def test_where_all_fail_the_source_heals(compute: Compute) -> None:
    """Each is tried once, without switching back and forth; a new document ends the trouble."""
    scan = compute.fill(ROWS)
    a, b, c = (compute.pageserver(name) for name in "abc")
    compute.publish([a, b])
    daemon = compute.start_daemon()
    b.admin.set_fault("reconnect")
    a.kill()
    with running_queries(compute.postgres.connect) as start:
        query = start(scan)
        wait_until("both to be tried", lambda: b.admin.stats()["faults"])
        asked = daemon.status()["refresh"]["requests_total"] + 5
        daemon.wait_status("complaints", lambda it: it["refresh"]["requests_total"] > asked)
        first = f"shard 0: pageserver {b.address} instead of {a.address}"
        wait_until("the history", lambda: [first] == moves(daemon)[:1])
        compute.publish([c, b])

        assert ROWS == query.value()
    assert c.url == compute.setting("neon.pageserver_connstring")
