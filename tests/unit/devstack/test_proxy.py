"""The proxy whose network can be broken: what passes, what does not, and what each side is told."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from devstack.proxy.client import Proxy
from devstack.proxy.faults import Order, parse_order
from devstack.proxy.route import Route

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Connect = Callable[[], Awaitable[Streams]]
SOON = 0.1
BOUND = 5.0


@pytest.fixture
async def route() -> AsyncIterator[Route]:
    """Return a route to a server that says everything back."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while piece := await reader.read(4096):
                writer.write(piece)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    made = Route(server.sockets[0].getsockname()[:2])
    await made.start()
    yield made
    await made.close()
    server.close()


@pytest.fixture
async def connect(route: Route) -> AsyncIterator[Connect]:
    """Return a function that connects to the route."""
    opened: list[asyncio.StreamWriter] = []

    async def connect() -> Streams:
        host, _, port = route.listen.rpartition(":")
        streams = await asyncio.open_connection(host, int(port))
        opened.append(streams[1])
        return streams

    yield connect
    for writer in opened:
        writer.close()


async def said_back(streams: Streams, text: bytes, length: int | None = None) -> bytes:
    """Say something and return what comes back."""
    streams[1].write(text)
    async with asyncio.timeout(BOUND):
        return await streams[0].readexactly(len(text) if length is None else length)


async def is_silent(streams: Streams) -> bool:
    """Say something and return whether nothing is heard, not even an end."""
    streams[1].write(b"x")
    try:
        async with asyncio.timeout(SOON):
            await streams[0].read(1)
    except TimeoutError:
        return True
    return False


async def ended(streams: Streams) -> bool:
    """Return whether the stream is over, by FIN or RST."""
    async with asyncio.timeout(BOUND):
        try:
            return await streams[0].read(1) == b""
        except ConnectionError:
            return True


async def test_bytes_pass_unchanged(connect: Connect) -> None:
    """Without a fault a megabyte comes back as it went."""
    text = bytes(range(256)) * 4096

    assert text == await said_back(await connect(), text)


async def test_a_reset_ends_what_is_open(route: Route, connect: Connect) -> None:
    """`reset` ends open connections by RST; a new one works."""
    old = await connect()
    await said_back(old, b"a")
    route.strike(Order(kind="reset"))

    with pytest.raises(ConnectionResetError):
        await old[0].read(1)
    assert b"b" == await said_back(await connect(), b"b")


async def test_refused_until_withdrawn(route: Route, connect: Connect) -> None:
    """`refuse` ends open connections, refuses new ones, and keeps the port."""
    old, address = await connect(), route.listen
    await said_back(old, b"a")
    route.strike(Order(kind="refuse"))

    assert await ended(old)
    with pytest.raises(ConnectionRefusedError):
        await connect()
    assert 1 == await route.clear("refuse")
    assert b"b" == await said_back(await connect(), b"b")
    assert address == route.listen


async def test_what_waits_in_a_blackhole_goes_on(route: Route, connect: Connect) -> None:
    """`blackhole` lets nothing pass, old or new connections; withdrawn, all of it arrives."""
    old = await connect()
    await said_back(old, b"a")
    route.strike(Order(kind="blackhole"))
    new = await connect()

    assert await is_silent(old)
    assert await is_silent(new)
    await route.clear()
    assert b"x" == await said_back(old, b"", 1)
    assert b"x" == await said_back(new, b"", 1)


async def test_half_open_is_for_good(route: Route, connect: Connect) -> None:
    """A half-open connection stays silent whatever is withdrawn; a new one works."""
    old = await connect()
    await said_back(old, b"a")
    route.strike(Order(kind="half_open"))
    await route.clear()

    assert await is_silent(old)
    assert b"b" == await said_back(await connect(), b"b")


async def test_delayed(route: Route, connect: Connect) -> None:
    """`delay` makes every piece late, on the way there and back."""
    loop, streams = asyncio.get_running_loop(), await connect()
    await said_back(streams, b"a")
    route.strike(Order(kind="delay", delay_ms=30))
    begun = loop.time()

    assert b"b" == await said_back(streams, b"b")
    assert loop.time() - begun >= 0.06


@pytest.mark.parametrize("end", ["rst", "silence"])
async def test_half_an_answer(route: Route, connect: Connect, end: str) -> None:
    """`half` lets so many bytes of one answer pass; then comes a reset, or nothing."""
    streams = await connect()
    await said_back(streams, b"a")
    route.strike(Order(kind="half", keep=3, end=end))

    assert b"abc" == await said_back(streams, b"abcdef", 3)
    if end == "rst":
        assert await ended(streams)
    else:
        assert await is_silent(streams)
    assert b"whole" == await said_back(await connect(), b"whole")


async def test_a_dead_target_is_told(connect: Connect, route: Route) -> None:
    """A connection to a target that nobody serves ends at once."""
    route.target = ("127.0.0.1", 1)

    assert await ended(await connect())


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"kind": "fire"},
        {"kind": "reset", "why": 1},
        {"kind": "delay", "delay_ms": -1},
        {"kind": "half", "end": "fin"},
    ],
)
def test_an_order_that_makes_no_sense(body: dict[str, object]) -> None:
    """Unknown kinds, keys and values are refused."""
    with pytest.raises(ValueError, match=r"unknown|invalid|must be"):
        parse_order(body)


def test_orders_over_http(tmp_path: Path) -> None:
    """The program takes routes and orders by HTTP, counts them, and refuses an unknown name."""
    with Proxy(tmp_path) as proxy:
        address = proxy.route("a", "127.0.0.1:1")
        assert address == proxy.route("a", "127.0.0.1:2")
        proxy.strike("a", "blackhole")

        assert 1 == proxy.clear("a")
        expected = {"a": {"listen": address, "open": 0, "counts": {"blackhole": 1}}}
        assert expected == proxy.stats()
        with pytest.raises(ValueError, match='unknown route "b"'):
            proxy.strike("b", "reset")
        assert 0 == proxy.stop()
