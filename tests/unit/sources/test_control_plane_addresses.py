"""A control plane with several addresses: where one is not available, the next is asked at once."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from aiohttp import web

from compute_common.errors import SettingsError
from compute_ctl.errors import FetchError
from compute_ctl.ports import FetchStatus
from compute_ctl.sources.control_plane import ControlPlane
from tests.unit.sources.test_control_plane import TOKEN, Server


@asynccontextmanager
async def replica() -> AsyncIterator[Server]:
    """Serve on a free loopback port."""
    made = Server()
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", made.handle)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield made
    finally:
        await runner.cleanup()


@asynccontextmanager
async def client_of(*urls: str) -> AsyncIterator[ControlPlane]:
    """Make a client of these addresses."""
    client = ControlPlane(",".join(urls), compute_id="c", token=TOKEN, total_timeout_s=0.5)
    try:
        yield client
    finally:
        await client.close()


@pytest.fixture
async def two() -> AsyncIterator[tuple[Server, Server]]:
    """Two replicas."""
    async with AsyncExitStack() as stack:
        yield (
            await stack.enter_async_context(replica()),
            await stack.enter_async_context(replica()),
        )


async def test_an_unreachable_address_is_passed_over(
    two: tuple[Server, Server], unused_tcp_port: int
) -> None:
    """One fetch is enough, and the next one goes to the address that answered."""
    first, _ = two
    async with client_of(f"http://127.0.0.1:{unused_tcp_port}", first.url) as client:
        assert FetchStatus.ATTACHED == (await client.fetch()).status
        assert FetchStatus.ATTACHED == (await client.fetch()).status

    assert 2 == len(first.requests)


async def test_unavailable_is_passed_over(two: tuple[Server, Server]) -> None:
    """A 503 sends the fetch to the next address at once."""
    first, second = two
    first.answer(503, Retry_After="7")
    async with client_of(first.url, second.url) as client:
        assert FetchStatus.ATTACHED == (await client.fetch()).status
        assert FetchStatus.ATTACHED == (await client.fetch()).status

    assert (1, 2) == (len(first.requests), len(second.requests))


async def test_a_connection_that_ends_in_a_long_poll(two: tuple[Server, Server]) -> None:
    """A replica that is killed while it holds a request costs no pause."""
    first, second = two

    async def hang_up(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    first.handler = hang_up
    async with client_of(first.url, second.url) as client:
        assert FetchStatus.ATTACHED == (await client.fetch(etag='"v0"', wait_s=30)).status


async def test_an_answer_of_its_own_is_final(two: tuple[Server, Server]) -> None:
    """404 and 429 are for the caller, not for the next replica, and do not change the order."""
    first, second = two
    async with client_of(first.url, second.url) as client:
        for status in (404, 429):
            first.answer(status, Retry_After="3")
            with pytest.raises(FetchError) as caught:
                await client.fetch()
            assert (status == 404, 3.0) == (caught.value.lasting, caught.value.retry_after_s)

    assert (2, 0) == (len(first.requests), len(second.requests))


async def test_silence_is_left_for_the_next_fetch(two: tuple[Server, Server]) -> None:
    """A replica that does not answer costs its deadline once."""
    first, second = two

    async def silent(_: web.Request) -> web.StreamResponse:
        await asyncio.Event().wait()
        return web.Response()

    first.handler = silent
    async with client_of(first.url, second.url) as client:
        with pytest.raises(FetchError, match="no answer in time"):
            await client.fetch()
        assert FetchStatus.ATTACHED == (await client.fetch()).status


async def test_all_refuse(two: tuple[Server, Server]) -> None:
    """Each is asked once and named with its reason; the longest pause asked for is kept."""
    first, second = two
    first.answer(503, b'{"error": "store is away"}', Retry_After="2")
    second.answer(503, Retry_After="9")
    async with client_of(first.url, second.url) as client:
        with pytest.raises(FetchError) as caught:
            await client.fetch()

    said = (
        "could not get the configuration from control plane "
        f'"{first.url}": HTTP status 503 Service Unavailable: store is away; '
        f'"{second.url}": HTTP status 503 Service Unavailable'
    )
    assert said == str(caught.value)
    assert (9.0, False) == (caught.value.retry_after_s, caught.value.lasting)
    assert (1, 1) == (len(first.requests), len(second.requests))


@pytest.mark.parametrize("uri", ["http://a,", "http://a,ftp://b", "http://a, http://a/"])
def test_lists_that_cannot_work(uri: str) -> None:
    """An empty, unusable or repeated address is refused before anything is asked."""
    with pytest.raises(SettingsError):
        ControlPlane(uri, compute_id="c")
