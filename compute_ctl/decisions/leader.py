"""Whom a standby follows, by what Patroni says of its cluster. Pure.

Two answers may contradict each other: a member that has lost its store tells what it knew. The one
with the newer epoch counts. Patroni's REST API gives the leader's timeline, which each promotion
raises; a leader that is about to be promoted still has the old one, so of answers with equal
timelines the later one counts. etcd gives the revision at which the leader key was written. Of the
history only the leader itself could tell more, and it is written after the promotion, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import msgspec

from compute_common.errors import SpecError
from compute_common.text import has_control
from compute_ctl.document.conninfo import DEFAULT_PORT, parse

LEADS: Final = frozenset({"leader", "standby_leader", "master", "primary"})
"""Roles of the member that has the leader key, in all versions of Patroni."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Leader:
    """The member that holds the leader key."""

    name: str
    host: str
    port: int
    epoch: tuple[int, int] | None
    """Grows with each change of the leader; None where the answer does not say."""

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        return self.host, self.port

    def __str__(self) -> str:
        return f'"{self.name}" at {self.host}:{self.port}'


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """The leader to follow."""

    leader: Leader | None
    """None: none is known."""
    reason: str = ""
    """Why it is not the one that the answer names; '' where it is."""


def choose(known: Leader | None, found: Leader | None, *, ourselves: bool) -> Choice:
    """Return whom to follow, after *known* was followed and an answer names *found*.

    *ourselves*: that is the very server that would follow.
    """
    if found is None:
        return Choice(leader=known, reason="the cluster has no leader")
    if ourselves:
        return Choice(leader=known, reason=f"leader {found} is this server itself")
    if known and known.epoch and found.epoch and found.epoch < known.epoch:
        reason = f"the answer that names {found} is older than the one that named {known}"
        return Choice(leader=known, reason=reason)
    return Choice(leader=found)


class _Member(msgspec.Struct):
    name: str
    role: str
    host: str | None = None
    port: int = DEFAULT_PORT
    timeline: int | str | None = None


class _Cluster(msgspec.Struct):
    members: list[_Member]


class _MemberKey(msgspec.Struct):
    conn_url: str


_CLUSTER: Final = msgspec.json.Decoder(_Cluster)
_MEMBER_KEY: Final = msgspec.json.Decoder(_MemberKey)


def leader_of_cluster(raw: bytes) -> Leader | None:
    """Return the leader in an answer to ``GET /cluster``, None where it has none.

    Raises:
        SpecError: it is no such answer.
    """
    try:
        members = _CLUSTER.decode(raw).members
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise SpecError("", f"not an answer of Patroni: {error}") from error
    found = [member for member in members if member.role in LEADS]
    if len(found) > 1:
        raise SpecError("members", "more than one leader")
    if not found:
        return None
    member = found[0]
    timeline = member.timeline if isinstance(member.timeline, int) else 0
    return _leader(
        member.name, member.host, member.port, epoch=(0, timeline) if timeline > 0 else None
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Key:
    """A key of a store."""

    value: bytes
    revision: int
    """Of the store, when it was written last."""


def leader_of_keys(keys: Mapping[str, Key], *, history: int) -> Leader | None:
    """Return the leader by Patroni's *keys*, named without their prefix; None where there is none.

    *history* is raised whenever the store's revisions begin anew.

    Raises:
        SpecError: they are no keys of Patroni.
    """
    key = keys.get("leader")
    if key is None:
        return None
    name = key.value.decode(errors="replace")
    path = f"members/{name}"
    if path not in keys:  # it has expired, or is yet to be written
        return None
    try:
        member = _MEMBER_KEY.decode(keys[path].value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise SpecError(path, f"not a member of Patroni: {error}") from error
    conninfo = parse(member.conn_url, path=f"{path}.conn_url")
    port = conninfo.port or str(DEFAULT_PORT)
    if not port.isdecimal():  # several, separated by commas
        raise SpecError(f"{path}.conn_url", "names more than one server")
    return _leader(name, conninfo.host, int(port), epoch=(history, key.revision))


def _leader(name: str, host: str | None, port: int, *, epoch: tuple[int, int] | None) -> Leader:
    path = f"members/{name}"
    if not host:
        raise SpecError(path, "the leader has no host")
    socket = host.startswith(("/", "@"))  # of this machine
    if has_control(name + host) or "," in host or socket or not 1 <= port <= 65535:
        raise SpecError(path, "the leader's address is not valid")
    return Leader(name=name, host=host, port=port, epoch=epoch)
