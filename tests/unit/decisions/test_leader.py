"""Whom a standby follows: what is read from Patroni's answers, and which of two counts."""

import json
from typing import Any

import pytest

from compute_common.errors import SpecError
from compute_ctl.decisions.leader import (
    Choice,
    Key,
    Leader,
    choose,
    leader_of_cluster,
    leader_of_keys,
)

A = Leader(name="a", host="10.0.0.1", port=5432, epoch=(0, 3))
B = Leader(name="b", host="10.0.0.2", port=5432, epoch=(0, 4))


def at(leader: Leader, epoch: tuple[int, int] | None) -> Leader:
    """The same leader in an answer of another epoch."""
    return Leader(name=leader.name, host=leader.host, port=leader.port, epoch=epoch)


def test_the_first_answer_counts() -> None:
    """Nothing is known before it."""
    assert Choice(leader=A) == choose(None, A, ourselves=False)


def test_no_leader_is_no_news() -> None:
    """The one that is followed stays, if there is one."""
    reason = "the cluster has no leader"
    assert Choice(leader=A, reason=reason) == choose(A, None, ourselves=False)
    assert Choice(leader=None, reason=reason) == choose(None, None, ourselves=False)


def test_ourselves_is_no_change() -> None:
    """A server cannot follow itself."""
    reason = 'leader "b" at 10.0.0.2:5432 is this server itself'
    assert Choice(leader=A, reason=reason) == choose(A, B, ourselves=True)


def test_the_newer_epoch_counts() -> None:
    """Whichever answer comes first."""
    assert Choice(leader=B) == choose(A, B, ourselves=False)
    older = (
        'the answer that names "a" at 10.0.0.1:5432 is older than the one that named '
        '"b" at 10.0.0.2:5432'
    )
    assert Choice(leader=B, reason=older) == choose(B, A, ourselves=False)


@pytest.mark.parametrize("epoch", [(0, 3), None])
def test_of_equal_epochs_the_later_answer_counts(epoch: tuple[int, int] | None) -> None:
    """A leader that is yet to be promoted has the timeline of the old one, or none."""
    later = at(B, epoch)
    assert Choice(leader=later) == choose(A, later, ourselves=False)


def test_a_store_that_begins_anew_is_newer() -> None:
    """Its revisions count from the beginning."""
    assert Choice(leader=at(A, (1, 9))) == choose(at(B, (0, 700)), at(A, (1, 9)), ourselves=False)


def member(name: str, role: str = "replica", **more: Any) -> dict[str, Any]:
    """A member as Patroni shows it."""
    return {"name": name, "role": role, "state": "running", "host": "10.0.0.2", **more}


def cluster(*members: dict[str, Any]) -> bytes:
    """An answer to ``GET /cluster``."""
    return json.dumps({"members": members, "scope": "story"}).encode()


@pytest.mark.parametrize("role", ["leader", "standby_leader"])
def test_the_leader_of_an_answer(role: str) -> None:
    """Of a cluster, or of a standby cluster; the port may be libpq's."""
    answer = cluster(member("a"), member("b", role, port=6432, timeline=4))
    found = Leader(name="b", host="10.0.0.2", port=6432, epoch=(0, 4))
    assert found == leader_of_cluster(answer)
    assert at(B, None) == leader_of_cluster(cluster(member("b", role, timeline="unknown")))


def test_an_answer_without_a_leader() -> None:
    """While the members elect one, or all have expired."""
    assert leader_of_cluster(cluster(member("a"), member("b"))) is None
    assert leader_of_cluster(cluster()) is None


DEEP = b"[" * 100_000 + b"]" * 100_000


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"<html>", "not an answer of Patroni: JSON is malformed"),
        (b'"\xff"', "not an answer of Patroni: "),
        (b"{}", "not an answer of Patroni: Object missing required field `members`"),
        (cluster(member("a", "leader", port="x")), r"Expected `int`, got `str` .*\[0\]\.port"),
        (cluster(member("a", "leader", port=0)), "members/a: the leader's address is not valid"),
        (cluster(member("a", "leader", host="h,i")), "the leader's address is not valid"),
        (cluster(member("a", "leader", host="/tmp")), "the leader's address is not valid"),
        (b'{"x": %s}' % DEEP, "not an answer of Patroni: maximum recursion depth"),
        (cluster(member("a", "leader", host="")), "members/a: the leader has no host"),
        (cluster(member("a", "leader"), member("b", "leader")), "members: more than one leader"),
    ],
)
def test_a_malformed_answer(answer: bytes, reason: str) -> None:
    """It is refused with the reason."""
    with pytest.raises(SpecError, match=reason):
        leader_of_cluster(answer)


def keys(leader: str | None, **members: str) -> dict[str, Key]:
    """The keys of a cluster, the leader's written at revision 12."""
    found = {
        f"members/{name}": Key(value=json.dumps({"conn_url": url}).encode(), revision=90)
        for name, url in members.items()
    }
    return found | ({} if leader is None else {"leader": Key(value=leader.encode(), revision=12)})


def test_the_leader_of_keys() -> None:
    """Its name is in one key, its address in another."""
    found = keys("b", a="postgres://10.0.0.1:5432/postgres", b="postgres://10.0.0.2/postgres")
    assert at(B, (3, 12)) == leader_of_keys(found, history=3)


def test_keys_without_a_leader() -> None:
    """The leader's key has expired, or that of its member."""
    assert leader_of_keys(keys(None, a="postgres://10.0.0.1/postgres"), history=0) is None
    assert leader_of_keys(keys("b", a="postgres://10.0.0.1/postgres"), history=0) is None


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("postgres:///postgres", "members/b: the leader has no host"),
        ("postgres://h:0/postgres", "members/b.conn_url: port is not a number"),
        ("postgres://h:1,i:2/postgres", "members/b.conn_url: names more than one server"),
    ],
)
def test_malformed_keys(url: str, reason: str) -> None:
    """They are refused with the reason."""
    with pytest.raises(SpecError, match=reason):
        leader_of_keys(keys("b", b=url), history=0)
    broken = keys("b") | {"members/b": Key(value=b"{", revision=1)}
    with pytest.raises(SpecError, match="members/b: not a member of Patroni: "):
        leader_of_keys(broken, history=0)


def test_a_member_nested_too_deeply() -> None:
    """Its key is refused; nothing else ends with it."""
    nested = b'{"x": %s, "conn_url": "postgres://h/"}' % DEEP
    found = {"leader": Key(value=b"a", revision=1), "members/a": Key(value=nested, revision=1)}
    with pytest.raises(SpecError, match="members/a: not a member of Patroni"):
        leader_of_keys(found, history=0)
