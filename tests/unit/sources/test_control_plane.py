"""Documents from the control plane, asked over real HTTP on loopback."""

import asyncio
import gzip
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime

import pytest
from aiohttp import web

from compute_common.document.document import MAX_DOCUMENT_BYTES
from compute_common.errors import SettingsError
from compute_ctl.errors import FetchError
from compute_ctl.ports import Fetched, FetchStatus
from compute_ctl.sources.control_plane import ControlPlane, retry_after

TOKEN = "s3cret-token"
ATTACHED = b'{"status": "attached", "spec": {"a": 1}, "compute_ctl_config": {}}'
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Server:
    """A control plane that answers as its test says, and remembers what it was asked."""

    def __init__(self) -> None:
        self.requests: list[web.Request] = []
        self.counted: list[tuple[str, str]] = []
        self.handler: Handler = self.attached
        self.url = ""
        self.client: ControlPlane

    async def attached(self, _: web.Request) -> web.StreamResponse:
        """Answer with a document."""
        return web.Response(body=ATTACHED, headers={"ETag": '"v1"'})

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Remember the request and let the test's handler answer."""
        self.requests.append(request)
        return await self.handler(request)

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        """Answer every request the same from now on."""

        async def handler(_: web.Request) -> web.StreamResponse:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            return web.Response(status=status, body=body, headers=named)

        self.handler = handler

    def count(self, rpc: str, status: str) -> None:
        """Take what would become a metric."""
        self.counted.append((rpc, status))


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    """A control plane on a free loopback port, and a client of it."""
    made = Server()
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", made.handle)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    made.url = f"http://{host}:{port}"
    made.client = ControlPlane(
        f"{made.url}/base/",
        compute_id="a/b é",
        token=TOKEN,
        total_timeout_s=0.5,
        on_request=made.count,
    )
    yield made
    await made.client.close()
    await runner.cleanup()


async def failure(server: Server) -> FetchError:
    """Fetch, and return the error that this must raise."""
    with pytest.raises(FetchError) as caught:
        await server.client.fetch()
    assert TOKEN not in str(caught.value)
    return caught.value


async def test_document_is_fetched(server: Server) -> None:
    """The answer is handed on as it came, with its ETag; the request is as the reference's."""
    assert "control_plane" == server.client.name
    assert await server.client.fetch() == Fetched(
        status=FetchStatus.ATTACHED, raw=ATTACHED, etag='"v1"'
    )
    (request,) = server.requests
    assert (
        "GET",
        "/base/compute/api/v2/computes/a%2Fb%20%C3%A9/spec",
    ) == (request.method, request.raw_path)
    assert request.headers["Authorization"] == f"Bearer {TOKEN}"
    assert "If-None-Match" not in request.headers
    assert "Prefer" not in request.headers
    assert [("GetConfig", "200 OK")] == server.counted


async def test_not_modified(server: Server) -> None:
    """The ETag is presented, and 304 means no news."""
    server.answer(304)
    assert await server.client.fetch(etag='"v1"') == Fetched(
        status=FetchStatus.NOT_MODIFIED, etag='"v1"'
    )
    assert '"v1"' == server.requests[0].headers["If-None-Match"]
    assert "304 Not Modified" in str(await failure(server))


async def test_long_poll(server: Server) -> None:
    """The wait is asked for, outlasts the usual deadline, and is reported if the server did it."""

    async def handler(_: web.Request) -> web.StreamResponse:
        await asyncio.sleep(0.7)  # longer than a plain request may take here
        return web.Response(status=304, headers={"Preference-Applied": "wait=1"})

    server.handler = handler
    fetched = await server.client.fetch(etag='"v1"', wait_s=1)
    assert (FetchStatus.NOT_MODIFIED, True) == (fetched.status, fetched.long_polled)
    assert "wait=1" == server.requests[0].headers["Prefer"]


async def test_empty(server: Server) -> None:
    """A compute without a spec is an answer, not an error."""
    server.answer(200, b'{"status": "empty", "spec": null}')
    assert await server.client.fetch() == Fetched(status=FetchStatus.EMPTY)


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", ATTACHED[:-5], b"[]", b'{"status": "attached", "spec": null}', b'{"spec":{}}'],
)
async def test_garbage_is_no_answer(server: Server, body: bytes) -> None:
    """A 200 that is no document may be better next time."""
    server.answer(200, body)
    error = await failure(server)
    assert (False, None) == (error.lasting, error.retry_after_s)


@pytest.mark.parametrize(
    ("status", "lasting"),
    [(401, True), (403, True), (404, True), (429, False), (500, False), (502, False), (503, False)],
)
async def test_refusals_are_told_apart(server: Server, status: int, lasting: bool) -> None:
    """Only a refusal that asking again soon cannot change is lasting; the reason is passed on."""
    server.answer(status, b'{"error": "no\\n luck with s3cret-token"}', Retry_After="7")
    error = await failure(server)
    assert (error.lasting, error.retry_after_s) == (lasting, 7.0)
    assert f"HTTP status {status} " in str(error)
    assert ": no luck with ***" in str(error)
    assert lasting == str(error).endswith("?)"), "says what to look at"


async def test_redirect_is_not_followed(server: Server) -> None:
    """The token does not travel to where a redirect points."""
    server.answer(307, Location=f"{server.url}/elsewhere")
    error = await failure(server)
    assert "307 Temporary Redirect (redirects are not followed)" in str(error)
    assert 1 == len(server.requests)


async def test_bodies_are_bounded(server: Server) -> None:
    """An endless answer and a compressed one are refused."""
    server.answer(200, gzip.compress(ATTACHED), Content_Encoding="gzip")
    assert "compressed" in str(await failure(server))
    server.answer(200, b" " * (MAX_DOCUMENT_BYTES + 1))
    assert "longer than 4194304 bytes" in str(await failure(server))


async def test_silence_has_an_end(server: Server) -> None:
    """A server that takes the request and is silent, even in mid-answer, costs the deadline."""

    async def half(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(ATTACHED[:10])
        await asyncio.Event().wait()
        return response

    server.handler = half
    begin = asyncio.get_running_loop().time()
    assert "no answer in time" in str(await failure(server))
    assert asyncio.get_running_loop().time() - begin < 2


async def test_nobody_listens(unused_tcp_port: int) -> None:
    """A refused connection is an error of the network, counted as unknown."""
    counted: list[tuple[str, str]] = []
    client = ControlPlane(
        f"http://127.0.0.1:{unused_tcp_port}",
        compute_id="c",
        on_request=lambda rpc, status: counted.append((rpc, status)),
    )
    with pytest.raises(
        FetchError, match=r"control plane .*could not connect: connection refused"
    ) as caught:
        await client.fetch()
    await client.close()
    assert caught.value.lasting is False
    assert [("GetConfig", "unknown")] == counted


@pytest.mark.parametrize(
    ("uri", "compute_id", "token"),
    [
        ("ftp://host", "c", ""),
        ("host:80", "c", ""),
        ("http://", "c", ""),
        ("http://user:hidden@host", "c", ""),
        ("http://host/?a=b", "c", ""),
        ("http://host", "..", ""),
        ("http://host", "", ""),
        ("http://host", "c", "hidden\nX-Evil: 1"),
    ],
)
def test_settings_that_cannot_work_are_refused(uri: str, compute_id: str, token: str) -> None:
    """What can never be asked is refused before anything is, without showing a secret."""
    with pytest.raises(SettingsError) as caught:
        ControlPlane(uri, compute_id=compute_id, token=token)
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize(
    ("value", "date", "expected"),
    [
        (None, None, None),
        ("0", None, 0.0),
        (" 12 ", None, 12.0),
        ("1000000000", None, 60.0),
        ("9" * 400, None, 60.0),
        ("-1", None, None),
        ("soon", None, None),
        ("Sun, 22 Nov 2026 12:00:30 GMT", None, 30.0),
        ("Sun, 22 Nov 2026 12:00:30 GMT", "Sun, 22 Nov 2026 12:00:20 GMT", 10.0),
        ("Sun, 22 Nov 2026 11:00:00 GMT", None, 0.0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", None, 60.0),
    ],
)
def test_retry_after(value: str | None, date: str | None, expected: float | None) -> None:
    """Seconds or a date are understood, a date by the server's own clock where it tells it."""
    now = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)
    assert retry_after(value, date, now) == expected


@pytest.mark.parametrize("code", [200, 503])
async def test_deeply_nested_nonsense_is_an_error_like_others(server: Server, code: int) -> None:
    """The decoder gives up on it in a way of its own."""
    server.answer(code, b"[" * 100_000)
    assert ("not valid JSON" in str(await failure(server))) is (code == 200)
