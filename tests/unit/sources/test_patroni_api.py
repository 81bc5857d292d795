"""Patroni's REST API: which address is asked, and what its answers mean."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager

import pytest
from aiohttp import web

from compute_common.errors import SettingsError
from compute_ctl.decisions.leader import Leader
from compute_ctl.errors import FetchError
from compute_ctl.sources.patroni_api import PatroniApi, api_addresses

LEADER = Leader(name="a", host="10.0.0.1", port=5432, epoch=(0, 3))


class Member:
    """A member's REST API."""

    def __init__(self) -> None:
        self.url = ""
        self.status = 200
        self.leads = True
        self.asked = 0

    async def handle(self, request: web.Request) -> web.Response:
        """Answer ``GET /cluster``."""
        assert ("GET", "/cluster") == (request.method, request.path)
        self.asked += 1
        role = "leader" if self.leads else "replica"
        member = {"name": "a", "role": role, "host": "10.0.0.1", "port": 5432, "timeline": 3}
        return web.Response(status=self.status, text=json.dumps({"members": [member]}))


@asynccontextmanager
async def serving() -> AsyncIterator[Member]:
    """Serve on a free loopback port."""
    made = Member()
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


@pytest.fixture
async def two() -> AsyncIterator[tuple[Member, Member]]:
    """Two members."""
    async with AsyncExitStack() as stack:
        yield (
            await stack.enter_async_context(serving()),
            await stack.enter_async_context(serving()),
        )


@asynccontextmanager
async def api_of(*urls: str) -> AsyncIterator[PatroniApi]:
    """Make a client of these addresses."""
    made = PatroniApi(urls, poll_s=0.001)
    try:
        yield made
    finally:
        await made.close()


async def look(api: PatroniApi) -> Leader | None:
    """Ask once."""
    async with aclosing(api.watch()) as answers:
        return await anext(answers)


async def test_an_address_that_fails_is_passed_over(
    two: tuple[Member, Member], unused_tcp_port: int
) -> None:
    """The next one is asked at once, and first from then on."""
    first, second = two
    first.status = 503
    async with api_of(f"http://127.0.0.1:{unused_tcp_port}", first.url, second.url) as api:
        assert LEADER == await look(api)
        assert LEADER == await look(api)
    assert (1, 2) == (first.asked, second.asked)


async def test_an_address_that_is_behind_is_not_asked_first(two: tuple[Member, Member]) -> None:
    """Which one that is, only the source can tell."""
    first, second = two
    async with api_of(first.url, second.url) as api:
        await look(api)
        api.distrust()
        await look(api)
    assert (1, 1) == (first.asked, second.asked)


async def test_no_address_answers(two: tuple[Member, Member], unused_tcp_port: int) -> None:
    """The error names each, with its reason."""
    first, _ = two
    first.status = 500
    nobody = f"http://127.0.0.1:{unused_tcp_port}"
    async with api_of(nobody, first.url) as api:
        with pytest.raises(FetchError) as raised:
            await look(api)
    assert (
        f'could not get the leader from patroni "{nobody}": could not connect: connection refused; '
        f'"{first.url}": HTTP status 500 Internal Server Error'
    ) == str(raised.value)


async def test_it_is_asked_again_and_again(two: tuple[Member, Member]) -> None:
    """Until the leader has changed, or the one who asks has enough."""
    member, _ = two
    async with api_of(member.url) as api, aclosing(api.watch()) as answers:
        assert LEADER == await anext(answers)
        member.leads = False
        async with asyncio.timeout(30):
            async for found in answers:
                if found is None:
                    break
    assert 2 <= member.asked


@pytest.mark.parametrize(
    "uri", ["", "8008", "http://u:p@host:8008", "http://h:8008,http://h:8008", "http://h/?a"]
)
def test_addresses_that_cannot_be_used(uri: str) -> None:
    """They are refused before anything is changed."""
    with pytest.raises(SettingsError, match=r"^patroni URI"):
        api_addresses(uri)
