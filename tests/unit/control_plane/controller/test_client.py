"""The client of the storage controller: against the stand-in, and against what answers badly."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from compute_common.errors import SettingsError
from control_plane.controller.client import ControllerClient
from control_plane.decisions.model import Placement
from control_plane.errors import BusyError, ControllerError
from devstack.installation import free_port
from devstack.storage_controller.client import StorageController, start_storage_controller
from devstack.tokens import KeyPair
from tests.unit.control_plane.controller.raw_server import http, raw_server

TENANT = "9f3c1d5e7a804b26a1c4e85d02f7b369"
TOKEN = "secret-token"
NOWHERE = "http://127.0.0.1:{port}"


@asynccontextmanager
async def client(*urls: str, **options: Any) -> AsyncIterator[ControllerClient]:
    """A client of these addresses."""
    made = ControllerClient(",".join(urls), **{"token": TOKEN, **options})
    try:
        yield made
    finally:
        await made.close()


async def failure(call: Any) -> ControllerError:
    """Return the error of *call*; the token is not in it."""
    with pytest.raises(ControllerError) as caught:
        await call
    assert TOKEN not in f"{caught.value!r} {caught.value} {caught.value.hint}"
    return caught.value


def in_thread(call: Callable[[], Any]) -> Any:
    """Run what waits for a process beside the loop."""
    return asyncio.to_thread(call)


async def test_a_storage_controller_is_asked(tmp_path: Path) -> None:
    """Nodes, places of unsharded and sharded tenants, an unknown tenant, a node set offline."""
    with start_storage_controller(state=tmp_path / "state.json", log_dir=tmp_path) as controller:
        for number in (1, 2):
            address = f"127.0.0.1:{free_port()}"
            put = partial(controller.admin.put_node, number, pg=address, http="127.0.0.1:1")
            await in_thread(put)
        async with client(controller.base_url) as asked:
            await _read_everything(asked, controller)
            await asked.set_offline(1)
            assert ["Offline"] == [n.availability for n in await asked.nodes() if n.id == 1]
            error = await failure(asked.set_offline(77))
            assert "404 Not Found" in str(error)


async def _read_everything(asked: ControllerClient, controller: StorageController) -> None:
    nodes = await asked.nodes()
    assert [1, 2] == [node.id for node in nodes]
    assert [int(node["listen_pg_port"]) for node in controller.nodes()] == [
        node.listen_pg_port for node in nodes
    ]
    await in_thread(lambda: controller.admin.create_tenant(TENANT, attached=[2]))
    sharded = TENANT[::-1]
    await in_thread(
        lambda: controller.admin.create_tenant(
            sharded, shard_count=2, stripe_size=16, attached=[2, 1]
        )
    )
    assert Placement(nodes=(2,)) == await asked.locate(TENANT)
    assert Placement(nodes=(2, 1), shard_count=2, stripe_size=16) == await asked.locate(sharded)
    assert None is await asked.locate("f" * 32)
    assert () == await asked.safekeepers()


async def test_tokens_count(tmp_path: Path) -> None:
    """401 without, 403 with another scope, each with a hint; with the right one it is let in."""
    keys = KeyPair.create(tmp_path)
    with start_storage_controller(
        state=tmp_path / "state.json", log_dir=tmp_path, auth_key=keys.public_path
    ) as controller:
        for token, said in (("", "401"), (TOKEN, "401"), (keys.token(scope="tenant"), "403")):
            async with client(controller.base_url, token=token) as asked:
                error = await failure(asked.nodes())
            assert f"HTTP status {said}" in str(error)
            assert "--storage-controller-token-file" in str(error.hint)
        async with client(controller.base_url, token=keys.token(scope="admin")) as asked:
            assert () == await asked.nodes()


async def test_a_busy_controller() -> None:
    """412: a background operation runs; the node id is in path and body."""
    async with raw_server(http(412, {"msg": "Ongoing operation: drain"})) as server:
        async with client(server.url) as asked:
            with pytest.raises(BusyError, match="Ongoing operation: drain"):
                await asked.set_offline(7)
        assert server.headers.startswith("PUT /control/v1/node/7/config HTTP/1.1\r\n")
        assert f"Authorization: Bearer {TOKEN}" in server.headers
        assert {"node_id": 7, "availability": "Offline"} == server.body


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (http(200, b"<html>"), "cannot be used: not valid JSON"),
        (http(500, {"msg": f"boom {TOKEN}\n\x1b"}), "HTTP status 500 Internal Server Error: boom"),
        (http(404, b"<html>no such page"), "HTTP status 404 Not Found"),
        (http(307, b"", Location="http://127.0.0.1:1/"), "HTTP status 307"),
        (http(200, b"[]", Content_Encoding="gzip"), "compressed"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "could not ask the storage controller"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n[", "could not ask"),
        (b"", "closed the connection without an answer"),
    ],
)
async def test_bad_answers_are_errors(answer: bytes, said: str) -> None:
    """Each call ends in one line that says what came."""
    async with raw_server(answer) as server, client(server.url) as asked:
        for call in (asked.nodes(), asked.locate(TENANT)):
            error = await failure(call)
            assert said in str(error)
            assert "\n" not in str(error)


async def test_endless_answers_are_cut() -> None:
    """A body that does not end is given up."""
    endless = b"HTTP/1.1 200 OK\r\n\r\n[" + b" " * (17 << 20)
    async with raw_server(endless) as server, client(server.url) as asked:
        assert "longer than" in str(await failure(asked.nodes()))


@pytest.mark.parametrize("answer", [None, b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n["])
async def test_silence_has_an_end(answer: bytes | None) -> None:
    """Each kind of call has its own deadline."""
    async with (
        raw_server(answer, then="hold") as server,
        client(server.url, total_timeout_s=0.6, locate_timeout_s=0.2) as asked,
    ):
        for call, least in ((asked.locate(TENANT), 0.2), (asked.nodes(), 0.6)):
            begun = time.monotonic()
            assert "no answer in time" in str(await failure(call))
            assert least <= time.monotonic() - begun < least + 15


@pytest.mark.parametrize("first", ["refused", "reset", "503"])
async def test_the_next_address_is_asked(first: str) -> None:
    """At once where the first cannot be reached, hangs up or says 503; then it comes first."""
    async with AsyncExitStack() as stack:
        good = await stack.enter_async_context(raw_server(http(200, [])))
        bad_url = NOWHERE.format(port=free_port())
        if first != "refused":
            answer = http(503, {"msg": "not the leader"}) if first == "503" else None
            then = "close" if first == "503" else "reset"
            bad_url = (await stack.enter_async_context(raw_server(answer, then=then))).url
        asked = await stack.enter_async_context(client(bad_url, good.url))
        assert () == await asked.nodes()
        assert () == await asked.nodes()
        assert 2 == len(good.requests)


async def test_all_addresses_fail() -> None:
    """The error has the reason of each."""
    nowhere = NOWHERE.format(port=free_port())
    async with (
        raw_server(http(503, {"msg": "starting"})) as server,
        client(nowhere, server.url) as asked,
    ):
        error = str(await failure(asked.nodes()))
    assert f'"{nowhere}": could not connect: connection refused' in error
    assert f'"{server.url}": HTTP status 503 Service Unavailable: starting' in error


async def test_an_answer_of_its_own_is_final() -> None:
    """Another address would say the same: a refusal is not asked for again."""
    async with (
        raw_server(http(403, {"msg": "no"})) as first,
        raw_server(http(200, [])) as second,
        client(first.url, second.url) as asked,
    ):
        await failure(asked.nodes())
        assert [] == second.requests


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "127.0.0.1:1234",
        "ftp://h",
        "http://u:p@h",
        "http://h?x=1",
        "http://h,http://h",
        "http://h,",
    ],
)
def test_addresses_that_cannot_be_asked(uri: str) -> None:
    """The message names the storage controller, and no password."""
    with pytest.raises(SettingsError, match="storage controller URI") as caught:
        ControllerClient(uri)
    assert "u:p" not in str(caught.value)


def test_a_token_no_header_can_carry() -> None:
    """It is refused without being quoted."""
    with pytest.raises(SettingsError) as caught:
        ControllerClient("http://h", token="a\nb")
    assert "the storage controller's token" in str(caught.value)
    assert "a\nb" not in str(caught.value)
