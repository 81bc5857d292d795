"""Patroni's leader by its keys in etcd, watched: through the JSON gateway of etcd's API version 3.

A read is linearizable, so it is as new as any answer given before it began, whichever member is
asked; the watch goes on from its revision. A member that has lost the others, or hangs, keeps a
watch open without a word, so after some silence a new read has to answer.

Source of the keys: Patroni with `etcd3` (not `etcd`, whose older API has other keys) writes
`NAMESPACE/SCOPE/leader`, the name of a member, and `NAMESPACE/SCOPE/members/NAME`.
"""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import aclosing
from http import HTTPStatus
from typing import Annotated, Any, Final, TypeVar

import msgspec

from compute_common.errors import SettingsError, SpecError
from compute_common.http.addresses import base_urls
from compute_common.http.client import HttpClient, RefusedError, reason_in, status_text
from compute_ctl.decisions.leader import Key, Leader, leader_of_keys
from compute_ctl.errors import FetchError

SCHEME: Final = "etcd://"
CHECK_S: Final = 5.0
"""After so much silence of a watch, its member is asked whether all is well."""
READ_TIMEOUT_S: Final = 3.0
CONNECT_TIMEOUT_S: Final = 2.0
_MAX_BYTES: Final = 1024 * 1024
Revision = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
_EXAMPLE: Final = "For example etcd://192.0.2.10:2379/service/main"


class _Header(msgspec.Struct):
    revision: Revision = 0


class _KeyValue(msgspec.Struct):
    key: bytes  # base64 in JSON
    value: bytes = b""
    mod_revision: Revision = 0


class _Range(msgspec.Struct):
    header: _Header
    kvs: list[_KeyValue] = []


class _Event(msgspec.Struct):
    kv: _KeyValue
    type: str = "PUT"


class _Changes(msgspec.Struct):
    header: _Header
    canceled: bool = False
    cancel_reason: str = ""
    events: list[_Event] = []


class _Line(msgspec.Struct):
    result: _Changes | None = None


T = TypeVar("T")

_RANGE: Final = msgspec.json.Decoder(_Range, strict=False)  # its numbers are strings
_LINE: Final = msgspec.json.Decoder(_Line, strict=False)


def store_of(uri: str) -> tuple[tuple[str, ...], str]:
    """Return the addresses and the prefix of the keys that ``etcd://host:port,…/prefix`` names.

    Raises:
        SettingsError: it cannot be used.
    """
    hosts, _, path = uri.removeprefix(SCHEME).partition("/")
    if not path.strip("/"):
        raise SettingsError(f'patroni URI "{uri}" names no scope', hint=_EXAMPLE)
    addresses = base_urls(
        ",".join(f"http://{host.strip()}" for host in hosts.split(",")),
        service="patroni",
        example="--patroni etcd://192.0.2.10:2379/service/main",
        login_hint="Keys in an etcd with logins cannot be read; name Patroni's REST API instead.",
    )
    return addresses, f"/{path.strip('/')}/"


class PatroniEtcd:
    """The keys of one cluster; use it in one event loop, and close it there."""

    def __init__(
        self, addresses: tuple[str, ...], prefix: str, *, check_s: float = CHECK_S
    ) -> None:
        self._addresses = deque(addresses)
        """The one to ask first."""
        self._prefix = prefix
        self._check_s = check_s
        self._revision = 0
        """The newest that was seen."""
        self._history = 0
        """How often the revisions have begun anew: another store has taken the place."""
        self._client = HttpClient(
            peer="etcd", max_bytes=_MAX_BYTES, connect_timeout_s=CONNECT_TIMEOUT_S
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    def distrust(self) -> None:
        """Do nothing: an answer of etcd is never behind."""

    async def watch(self) -> AsyncGenerator[Leader | None, None]:
        """Yield the leader now, and whenever keys have changed; see `LeaderLookup.watch`."""
        reasons: dict[str, str] = {}
        while len(reasons) < len(self._addresses):
            base = self._addresses[0]
            try:
                async with aclosing(self._watch_at(base)) as answers:
                    async for found in answers:
                        yield found
            except (RefusedError, SpecError) as error:
                reasons[base] = error.reason
                if self._addresses[0] == base:
                    self._addresses.rotate(-1)
        said = "; ".join(f'"{base}": {reason}' for base, reason in reasons.items())
        raise FetchError(f"could not get patroni's leader from etcd {said}")

    async def _watch_at(self, base: str) -> AsyncGenerator[Leader | None, None]:
        """Yield the leader by what one address says, until it has been silent for a while."""
        keys, revision = await self._read(base)
        yield leader_of_keys(keys, history=self._history)
        request = {**self._range(), "start_revision": revision + 1}
        lines = self._client.lines(
            "POST",
            f"{base}/v3/watch",
            rpc="watch",
            body=msgspec.json.encode({"create_request": request}),
        )
        async with aclosing(lines):
            while (line := await self._next(lines)) is not None:
                if self._take(line, keys):
                    yield leader_of_keys(keys, history=self._history)

    async def _next(self, lines: AsyncGenerator[bytes, None]) -> bytes | None:
        """Return the next line, None after too much silence."""
        try:
            async with asyncio.timeout(self._check_s):
                return await anext(lines)
        except TimeoutError:
            return None

    async def _read(self, base: str) -> tuple[dict[str, Key], int]:
        """Return the keys, and the revision of the store they are of."""
        newest = self._revision
        answer = await self._client.request(
            "POST",
            f"{base}/v3/kv/range",
            rpc="range",
            total_s=READ_TIMEOUT_S,
            headers={},
            body=msgspec.json.encode(self._range()),
            reset_on_timeout=False,
        )
        if answer.status != HTTPStatus.OK:
            reason = reason_in(answer.body)
            raise RefusedError(f"HTTP status {status_text(answer.status)}: {reason}")
        found = _decoded(_RANGE, answer.body)
        revision = found.header.revision
        if revision < newest:  # seen before this read began
            self._history += 1
            self._revision = revision
        self._revision = max(self._revision, revision)
        return {self._name(it): _key(it) for it in found.kvs}, revision

    def _take(self, line: bytes, keys: dict[str, Key]) -> bool:
        """Change *keys* as a line of a watch says; return whether it says anything."""
        changes = _decoded(_LINE, line).result
        if changes is None or changes.canceled:
            said = reason_in(line) if changes is None else changes.cancel_reason
            raise RefusedError(f"the watch was refused: {said}")
        self._revision = max(self._revision, changes.header.revision)
        for event in changes.events:
            if event.type == "DELETE":
                keys.pop(self._name(event.kv), None)
            else:
                keys[self._name(event.kv)] = _key(event.kv)
        return bool(changes.events)

    def _range(self) -> dict[str, Any]:
        """Return the keys wanted, as a request names them: leader and members, not what is beside.

        ``0`` is the character after ``/``.
        """
        first, end = f"{self._prefix}leader", f"{self._prefix}members0"
        return {
            "key": b64encode(first.encode()).decode(),
            "range_end": b64encode(end.encode()).decode(),
        }

    def _name(self, found: _KeyValue) -> str:
        return found.key.decode(errors="replace").removeprefix(self._prefix)


def _key(found: _KeyValue) -> Key:
    return Key(value=found.value, revision=found.mod_revision)


def _decoded(decoder: msgspec.json.Decoder[T], raw: bytes) -> T:
    try:
        return decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RefusedError(f"not an answer of etcd: {error}") from error
