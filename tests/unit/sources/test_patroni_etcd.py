"""Patroni's keys in a real etcd; what no etcd does by itself, a server of the test's own does."""

import asyncio
import json
from base64 import b64encode
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from compute_common.errors import SettingsError
from compute_ctl.decisions.leader import Leader
from compute_ctl.errors import FetchError
from compute_ctl.sources.patroni_etcd import PatroniEtcd, store_of
from devstack.etcd import Etcd
from devstack.installation import free_port

PREFIX = "/service/story/"
HOSTS = {"a": "10.0.0.1", "b": "10.0.0.2"}
BOUND_S = 60.0
real = pytest.mark.skipif(bool(Etcd.missing()), reason="not installed: etcd (Debian: etcd-server)")


def coded(text: str) -> str:
    """Text as etcd's gateway takes and gives it."""
    return b64encode(text.encode()).decode()


def who(leader: Leader | None) -> tuple[str, str] | None:
    """Name and host."""
    return None if leader is None else (leader.name, leader.host)


class Store:
    """The keys, changed as Patroni changes them."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self._url = url
        self._session = session

    async def _call(self, path: str, body: dict[str, Any]) -> None:
        async with self._session.post(f"{self._url}/v3/kv/{path}", json=body) as answer:
            assert 200 == answer.status

    async def put(self, key: str, value: str) -> None:
        """Write a key below the scope."""
        await self._call("put", {"key": coded(PREFIX + key), "value": coded(value)})

    async def delete(self, key: str) -> None:
        """Remove one."""
        await self._call("deleterange", {"key": coded(PREFIX + key)})

    async def members(self) -> None:
        """Write the members, and what is beside them."""
        for name, host in HOSTS.items():
            await self.put(f"members/{name}", json.dumps({"conn_url": f"postgres://{host}:5432/"}))
        for key in ("history", "status", "sync"):
            await self.put(key, "{}")


@pytest.fixture(scope="module")
def etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Etcd]:
    """Return a running etcd."""
    with Etcd(tmp_path_factory.mktemp("etcd")) as running:
        yield running


@pytest.fixture
async def store(etcd: Etcd) -> AsyncIterator[Store]:
    """Return the keys of a cluster that has no leader."""
    async with aiohttp.ClientSession() as session:
        made = Store(etcd.url, session)
        await made.delete("leader")
        await made.members()
        yield made


@asynccontextmanager
async def watching(
    *urls: str, check_s: float = BOUND_S
) -> AsyncIterator[AsyncGenerator[Leader | None, None]]:
    """Watch the keys."""
    client = PatroniEtcd(urls, PREFIX, check_s=check_s)
    try:
        async with asyncio.timeout(BOUND_S), aclosing(client.watch()) as answers:
            yield answers
    finally:
        await client.close()


@real
async def test_the_leader_is_watched(etcd: Etcd, store: Store) -> None:
    """From none to the first, to the second, to none, and by a member's new address."""
    async with watching(etcd.url) as answers:
        assert await anext(answers) is None
        await store.put("leader", "a")
        first = await anext(answers)
        assert ("a", "10.0.0.1") == who(first)
        await store.put("status", "of no interest")
        await store.put("leader", "b")
        second = await anext(answers)
        assert ("b", "10.0.0.2") == who(second)
        assert first is not None
        assert second is not None
        assert first.epoch is not None
        assert second.epoch is not None
        assert first.epoch < second.epoch
        await store.put("members/b", json.dumps({"conn_url": "postgres://10.0.0.9/"}))
        assert ("b", "10.0.0.9") == who(await anext(answers))
        await store.delete("leader")
        assert await anext(answers) is None


@real
async def test_another_scope_is_not_seen(etcd: Etcd, store: Store) -> None:
    """Nor one whose name begins alike."""
    await store.put("leader", "a")
    client = PatroniEtcd((etcd.url,), "/service/sto/")
    async with aclosing(client.watch()) as answers:
        assert await anext(answers) is None
    await client.close()


@real
async def test_silence_is_looked_into(etcd: Etcd, store: Store) -> None:
    """The watch is opened anew; nothing that happens meanwhile is missed."""
    await store.put("leader", "a")
    async with watching(etcd.url, check_s=0.01) as answers:
        for _ in range(3):
            assert ("a", "10.0.0.1") == who(await anext(answers))
        await store.put("leader", "b")
        while ("b", "10.0.0.2") != who(await anext(answers)):
            pass


@real
async def test_an_address_that_fails_is_passed_over(
    etcd: Etcd, store: Store, unused_tcp_port: int
) -> None:
    """At once; where all have failed, the error names each."""
    await store.put("leader", "a")
    nobody = f"http://127.0.0.1:{unused_tcp_port}"
    async with watching(nobody, etcd.url) as answers:
        assert ("a", "10.0.0.1") == who(await anext(answers))
    async with watching(nobody) as answers:
        with pytest.raises(FetchError) as raised:
            await anext(answers)
    reason = "could not connect: connection refused"
    assert f'could not get patroni\'s leader from etcd "{nobody}": {reason}' == str(raised.value)


@real
async def test_a_store_made_anew(tmp_path: Path) -> None:
    """Its revisions are lower, but it is newer."""
    epochs: list[tuple[int, int]] = []
    port = free_port()
    client = PatroniEtcd((f"http://127.0.0.1:{port}",), PREFIX)
    for name, changes in (("old", 5), ("new", 0)):
        folder = tmp_path / name
        folder.mkdir()
        with Etcd(folder, port=port) as etcd:
            async with aiohttp.ClientSession() as session:
                store = Store(etcd.url, session)
                for number in range(changes):
                    await store.put("status", str(number))
                await store.members()
                await store.put("leader", "a")
            async with aclosing(client.watch()) as answers:
                found = await anext(answers)
        assert found is not None
        assert found.epoch is not None
        epochs.append(found.epoch)
    await client.close()
    (old_history, old), (new_history, new) = epochs
    assert (0, 1) == (old_history, new_history)
    assert old > new


READ = {"header": {"revision": "7"}, "kvs": []}


@asynccontextmanager
async def answering(read: Any, *lines: Any, status: int = 200) -> AsyncIterator[str]:
    """Serve an etcd that answers this to a read, and these lines to a watch."""

    async def ranged(_request: web.Request) -> web.Response:
        body = read if isinstance(read, bytes) else json.dumps(read)
        return web.Response(status=status, body=body)

    async def watched(_request: web.Request) -> web.Response:
        return web.Response(body="".join(json.dumps(line) + "\n" for line in lines))

    application = web.Application()
    application.router.add_post("/v3/kv/range", ranged)
    application.router.add_post("/v3/watch", watched)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@pytest.mark.parametrize(
    ("read", "status", "reason"),
    [
        ({"error": "etcdserver: no leader"}, 503, "503 Service Unavailable: etcdserver: no leader"),
        ({"error": "user name is empty"}, 400, "400 Bad Request: user name is empty"),
        ([], 200, "not an answer of etcd: Expected `object`, got `array`"),
        ({"header": {}, "kvs": [{"key": "?"}]}, 200, "not an answer of etcd: "),
        ({"header": {"revision": 2**63}}, 200, "not an answer of etcd: "),
        (
            b'{"x": %s}' % (b"[" * 100_000 + b"]" * 100_000),
            200,
            "not an answer of etcd: maximum recursion depth",
        ),
    ],
)
async def test_a_read_that_fails(read: Any, status: int, reason: str) -> None:
    """The error gives the reason in etcd's own words."""
    async with answering(read, status=status) as url, watching(url) as answers:
        with pytest.raises(FetchError) as raised:
            await anext(answers)
        assert reason in str(raised.value)


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ([], "it ended its answer"),
        ([{"error": {"message": "broken"}}], "the watch was refused"),
        (
            [{"result": {"header": {}, "canceled": True, "cancel_reason": "compacted"}}],
            "the watch was refused: compacted",
        ),
        ([{"result": 3}], "not an answer of etcd: "),
    ],
)
async def test_a_watch_that_fails(lines: list[Any], reason: str) -> None:
    """The next address is read; after the last one the caller is told."""
    async with (
        answering(READ, *lines) as first,
        answering(READ, *lines) as second,
        watching(first, second) as answers,
    ):
        assert await anext(answers) is None
        assert await anext(answers) is None
        with pytest.raises(FetchError) as raised:
            await anext(answers)
    assert 2 == str(raised.value).count(reason)


def test_addresses() -> None:
    """Members of etcd, and where Patroni's keys are."""
    found = store_of("etcd://10.0.0.1:2379,[::1]:2379/service/main/")
    assert (("http://10.0.0.1:2379", "http://[::1]:2379"), "/service/main/") == found


@pytest.mark.parametrize(
    "uri",
    ["etcd://", "etcd://h:1", "etcd://h:1/", "etcd:///s/m", "etcd://u:p@h/s/m", "etcd://h,h/s/m"],
)
def test_addresses_that_cannot_be_used(uri: str) -> None:
    """They are refused before anything is changed."""
    with pytest.raises(SettingsError, match=r"^patroni URI"):
        store_of(uri)
