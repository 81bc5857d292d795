"""Reports: sent to those who ask, and never at the cost of a fetch."""

import asyncio

import pytest
from aiohttp import web

from compute_ctl.errors import FetchError
from compute_ctl.ports import FetchStatus
from compute_ctl.sources import control_plane
from tests.unit.sources.test_control_plane import TOKEN, Server, server

__all__ = ["server"]  # the fixture


async def test_it_is_wanted_where_the_last_answer_said_so(server: Server) -> None:
    """A header switches reports on, its absence off again."""
    assert not server.client.wants_reports
    server.answer(304, Compute_Reports="1")
    await server.client.fetch(etag='"v1"')
    assert server.client.wants_reports
    server.answer(304)
    await server.client.fetch(etag='"v1"')
    assert not server.client.wants_reports


async def test_one_that_is_missed_is_sent_again(server: Server) -> None:
    """As after a restart of the control plane; once it is taken, it is not missing any more."""
    server.answer(304, Compute_Reports="1; missing")
    await server.client.fetch(etag='"v1"')
    assert server.client.wants_reports
    assert server.client.report_missing

    server.answer(200)
    await server.client.report(b"{}")
    assert not server.client.report_missing


async def test_it_is_posted_beside_the_document(server: Server) -> None:
    """Path, token and type are those of the contract."""
    await server.client.report(b'{"a": 1}')

    (request,) = server.requests
    assert ("POST", "/base/compute/api/v2/computes/a%2Fb%20%C3%A9/report") == (
        request.method,
        request.raw_path,
    )
    assert ("application/json", f"Bearer {TOKEN}") == (
        request.headers["Content-Type"],
        request.headers["Authorization"],
    )
    assert [("Report", "200 OK")] == server.counted


async def test_a_refusal_is_an_error(server: Server) -> None:
    """It names the reason, and no secret."""
    server.answer(422, b'{"error": "unknown compute"}')

    with pytest.raises(FetchError, match=r"could not report to control plane .*: unknown compute"):
        await server.client.report(b"{}")


async def test_silence_does_not_end_a_long_poll(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the report fails; the request that is held is answered on its own connection."""
    monkeypatch.setattr(control_plane, "REPORT_TIMEOUT_S", 0.1)
    reported = asyncio.Event()

    async def handler(request: web.Request) -> web.StreamResponse:
        if request.method == "POST":
            await asyncio.Event().wait()
        await reported.wait()
        return web.Response(status=304, headers={"Preference-Applied": "wait=30"})

    server.handler = handler
    held = asyncio.create_task(server.client.fetch(etag='"v1"', wait_s=30))
    with pytest.raises(FetchError, match="no answer in time"):
        await server.client.report(b"{}")
    reported.set()

    assert FetchStatus.NOT_MODIFIED == (await held).status


async def test_one_that_hangs_is_in_nobodys_way(server: Server) -> None:
    """The document is fetched beside it."""
    begun = asyncio.Event()

    async def handler(request: web.Request) -> web.StreamResponse:
        if request.method == "POST":
            begun.set()
            await asyncio.Event().wait()
        return web.Response(status=304)

    server.handler = handler
    hanging = asyncio.create_task(server.client.report(b"{}"))
    await begun.wait()
    assert FetchStatus.NOT_MODIFIED == (await server.client.fetch(etag='"v1"')).status
    assert not hanging.done()
    hanging.cancel()
