"""Pushes to a daemon that does not poll: what is sent, and what its answers mean."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from control_plane.controller.configure import ConfigurePusher
from control_plane.controller.signing_key import SigningKey
from control_plane.errors import PushError
from devstack.installation import free_port
from tests.unit.control_plane.controller.raw_server import http, raw_server

PUSHED = b'{"spec":{"format_version":1.0,"n":1e400},"compute_ctl_config":{"jwks":{"keys":[1]}}}'
DOCUMENT = b'{"status":"attached",' + PUSHED[1:]
STATUS = {"status": "running"}


@asynccontextmanager
async def pusher(folder: Path, total_timeout_s: float = 5.0) -> AsyncIterator[ConfigurePusher]:
    """A pusher with a key of its own, whose clock stands still."""
    made = ConfigurePusher(
        SigningKey.load_or_create(folder / "key.pem"),
        total_timeout_s=total_timeout_s,
        clock=lambda: 1_800_000_000.0,
    )
    try:
        yield made
    finally:
        await made.close()


async def failure(
    folder: Path, url: str, document: bytes = DOCUMENT, total_timeout_s: float = 5.0
) -> PushError:
    """Return why a push was not taken; its token is not in it."""
    async with pusher(folder, total_timeout_s) as push:
        with pytest.raises(PushError) as caught:
            await push.push(url, document, compute_id="c")
        token = SigningKey.load_or_create(folder / "key.pem").token(
            compute_id="c", now_s=1_800_000_000.0
        )
    assert token not in str(caught.value)
    assert "\n" not in str(caught.value)
    return caught.value


async def test_spec_and_config_are_sent(tmp_path: Path) -> None:
    """Byte for byte, without the status; the token is of this compute."""
    async with raw_server(http(200, STATUS)) as server, pusher(tmp_path) as push:
        await push.push(f"{server.url}/", DOCUMENT, compute_id="compute-1")
        head, _, body = server.requests[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /configure HTTP/1.1\r\n")
    assert b"Content-Type: application/json" in head
    assert PUSHED == body
    token = head.partition(b"Authorization: Bearer ")[2].partition(b"\r\n")[0].decode()
    expected = SigningKey.load_or_create(tmp_path / "key.pem")
    assert expected.token(compute_id="compute-1", now_s=1_800_000_000.0) == token


async def test_a_document_without_config(tmp_path: Path) -> None:
    """Neon's daemon requires one, so an empty one is sent."""
    async with raw_server(http(200, STATUS)) as server, pusher(tmp_path) as push:
        await push.push(server.url, b'{"spec":{}}', compute_id="c")
        assert {"spec": {}, "compute_ctl_config": {"jwks": {"keys": []}}} == server.body


@pytest.mark.parametrize("document", [b"", b"[]", b'{"status":"empty"}', b"{"])
async def test_what_is_no_document_is_not_sent(tmp_path: Path, document: bytes) -> None:
    """It is an error, as an answer would be."""
    async with raw_server(http(200, STATUS)) as server:
        assert "no spec" in str(await failure(tmp_path, server.url, document))
        assert [] == server.requests


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (400, "tenant id should be provided"),
        (401, "failed to verify authorization token"),
        (403, "invalid compute ID in authorization token claims"),
        (412, "invalid compute status: init"),
        (413, "failed to buffer the request body"),
        (500, 'compute configuration failed: "unknown error"'),
        (302, ""),
    ],
)
async def test_refusals_have_code_and_reason(tmp_path: Path, status: int, reason: str) -> None:
    """Whoever pushes decides by the code whether to try again."""
    async with raw_server(http(status, {"error": reason})) as server:
        error = await failure(tmp_path, server.url)
    assert status == error.code
    assert str(error).startswith(f'"{server.url}/configure": HTTP status {status} ')
    assert reason in str(error)


async def test_an_echoed_token_is_not_repeated(tmp_path: Path) -> None:
    """A daemon, or a proxy, that quotes the request gives nothing away."""
    key = SigningKey.load_or_create(tmp_path / "key.pem")
    token = key.token(compute_id="c", now_s=1_800_000_000.0)
    async with raw_server(http(401, {"error": f"no: {token}"})) as server:
        said = str(await failure(tmp_path, server.url))
    assert token[:20] not in said


@pytest.mark.parametrize(
    ("answer", "then", "said"),
    [
        (None, "hold", "no answer in time"),
        (None, "reset", "connection was lost"),
        (b"", "close", "closed the connection without an answer"),
        (b"nonsense\r\n\r\n", "close", "could not push"),
    ],
)
async def test_no_answer_has_no_code(
    tmp_path: Path, answer: bytes | None, then: str, said: str
) -> None:
    """It is not known whether the document was taken; silence ends."""
    begun = time.monotonic()
    async with raw_server(answer, then=then) as server:
        error = await failure(tmp_path, server.url, total_timeout_s=0.3)
    assert (None, True) == (error.code, said in str(error)), error
    assert time.monotonic() - begun < 10


@pytest.mark.parametrize("url", ["http://127.0.0.1:{port}", "nonsense", "http://", "file:///etc"])
async def test_addresses_that_lead_nowhere(tmp_path: Path, url: str) -> None:
    """Each is a PushError that names the address."""
    url = url.format(port=free_port())
    error = await failure(tmp_path, url)
    assert (None, True) == (error.code, url.rstrip("/") in str(error))


async def test_one_silent_daemon_holds_up_no_other(tmp_path: Path) -> None:
    """Pushes run at the same time."""
    async with (
        raw_server(None, then="hold") as silent,
        raw_server(http(200, STATUS)) as server,
        pusher(tmp_path) as push,
    ):
        waiting = asyncio.create_task(push.push(silent.url, DOCUMENT, compute_id="c"))
        await asyncio.gather(*(push.push(server.url, DOCUMENT, compute_id="c") for _ in range(20)))
        assert not waiting.done()
        waiting.cancel()
        await asyncio.wait([waiting])
