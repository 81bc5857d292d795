"""The trigger against real sockets."""

import select
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pg_hook import HookError, Trigger, ffi, lib, parse_endpoint
from tests.core.daemon import Daemon, always, answer, once, running, silent

TAKEN = answer(b'{"status": "pending"}')


def post_error(trigger: Trigger, **arguments: Any) -> str:
    """Post, and return the name of the failure."""
    with pytest.raises(HookError) as caught:
        trigger.post("/refresh_configuration", **arguments)
    return caught.value.name


@pytest.mark.parametrize("unix", [False, True])
def test_post(unix: bool, tmp_path: Path) -> None:
    """Path, header lines and body arrive as given; status and body come back."""
    with (
        running(always(TAKEN), path=tmp_path / "s" if unix else None) as daemon,
        Trigger(parse_endpoint(daemon.endpoint)) as trigger,
    ):
        got = trigger.post("/refresh_configuration?wait=2", b"\x00{}\xff", headers=["X-A: b"])
    assert (200, b'{"status": "pending"}', 21) == (got.status, got.body, got.body_len)
    head, _, body = daemon.requests[0].partition(b"\r\n\r\n")
    assert b"\x00{}\xff" == body
    lines = head.split(b"\r\n")
    assert b"POST /refresh_configuration?wait=2 HTTP/1.1" == lines[0]
    assert b"X-A: b" in lines
    assert b"Content-Type: application/json" in lines
    assert not [line for line in lines if line.startswith(b"Expect")]


def test_empty_body() -> None:
    """A request without a body has length 0 and no type."""
    with running(always(TAKEN)) as daemon, Trigger(parse_endpoint(daemon.endpoint)) as trigger:
        trigger.post("/refresh_configuration")
    head = daemon.requests[0].lower()
    assert b"content-length: 0\r\n" in head
    assert b"content-type" not in head


@pytest.mark.parametrize("unix", [False, True])
def test_connection_is_kept(unix: bool, tmp_path: Path) -> None:
    """Ten requests of one handle use one connection."""
    with (
        running(always(TAKEN), path=tmp_path / "s" if unix else None) as daemon,
        Trigger(parse_endpoint(daemon.endpoint)) as trigger,
    ):
        for _ in range(10):
            trigger.post("/refresh_configuration", b"{}")
    assert (10, 1) == (len(daemon.requests), daemon.connections)


def test_kept_connection_that_the_daemon_closed() -> None:
    """A restart of the daemon between two requests costs nothing but a new connection."""
    with running(once(TAKEN)) as daemon, Trigger(parse_endpoint(daemon.endpoint)) as trigger:
        statuses = [trigger.post("/refresh_configuration").status for _ in range(3)]
    assert ([200, 200, 200], 3) == (statuses, daemon.connections)


@pytest.mark.parametrize("status", [b"409 Conflict", b"500 Oops", b"204 No Content"])
def test_any_status_is_an_answer(status: bytes) -> None:
    """What a status means is the caller's to judge."""
    with (
        running(always(answer(b"", status=status))) as daemon,
        Trigger(parse_endpoint(daemon.endpoint)) as trigger,
    ):
        assert trigger.post("/x").status == int(status[:3])


def test_redirect_is_not_followed() -> None:
    """The daemon cannot send us elsewhere."""
    with running(always(TAKEN)) as other:
        moved = answer(
            b"", status=b"307 Moved", headers=b"Location: %s/\r\n" % other.endpoint.encode()
        )
        with running(always(moved)) as daemon, Trigger(parse_endpoint(daemon.endpoint)) as trigger:
            assert 307 == trigger.post("/x").status
    assert 0 == other.connections


def test_proxy_of_the_environment_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy that somebody exported before starting Postgres is not used."""
    with running(always(TAKEN)) as proxy, running(always(TAKEN)) as daemon:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.endpoint)
        with Trigger(parse_endpoint(daemon.endpoint)) as trigger:
            assert 200 == trigger.post("/x").status
    assert (0, 1) == (proxy.connections, daemon.connections)


def test_silent_daemon() -> None:
    """A daemon that accepts and never answers costs the timeout, not more."""
    with running(silent) as daemon, Trigger(parse_endpoint(daemon.endpoint)) as trigger:
        started = time.monotonic()
        assert "TIMEOUT" == post_error(trigger, timeout_ms=150)
        assert 0.14 < time.monotonic() - started < 2


def test_dead_daemon(tmp_path: Path) -> None:
    """Nobody listens: refused at once, on both kinds of socket, and libcurl says it in words."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    for endpoint in (f"http://127.0.0.1:{port}", f"unix:{tmp_path}/none"):
        with Trigger(parse_endpoint(endpoint)) as trigger, pytest.raises(HookError) as caught:
            trigger.post("/x")
        assert "CONNECT" == caught.value.name
        assert "onnect" in caught.value.detail


@pytest.mark.parametrize(
    "reply",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",
        b"HTTP/1.1 200",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\x00" * 100,
    ],
)
def test_broken_answer(reply: bytes) -> None:
    """Half an answer, none, or another protocol is LOST."""
    with running(once(reply)) as daemon, Trigger(parse_endpoint(daemon.endpoint)) as trigger:
        assert "LOST" == post_error(trigger, timeout_ms=5000)


@pytest.mark.parametrize(
    ("size", "kept"), [(4095, 4095), (4096, 4096), (4097, 4096), (65536, 4096)]
)
def test_long_answer_is_kept_in_part(size: int, kept: int) -> None:
    """64 kB are taken, the first 4 kB are kept."""
    text = bytes(i % 251 for i in range(size))
    with (
        running(always(answer(text))) as daemon,
        Trigger(parse_endpoint(daemon.endpoint)) as trigger,
    ):
        got = trigger.post("/x")
    assert (got.body_len, got.body) == (size, text[:kept])


@pytest.mark.parametrize(
    "reply",
    [
        answer(bytes(65537)),
        b"HTTP/1.1 200 OK\r\n\r\n" + bytes(1 << 20),
        b"HTTP/1.1 200 OK\r\n" + b"X-Filler: %s\r\n" % (b"x" * 1000) * 100 + b"\r\n",
    ],
)
def test_huge_answer(reply: bytes) -> None:
    """More than 64 kB of body, announced or not, or of header ends the request."""
    with running(once(reply)) as daemon, Trigger(parse_endpoint(daemon.endpoint)) as trigger:
        assert "ANSWER_SIZE" == post_error(trigger, timeout_ms=5000)


def test_two_handles_are_independent() -> None:
    """An ack is not held up by a refresh that hangs."""
    with (
        running(silent) as hung,
        running(always(TAKEN)) as daemon,
        Trigger(parse_endpoint(hung.endpoint)) as refresh,
        Trigger(parse_endpoint(daemon.endpoint)) as ack,
    ):
        refresh.start("/refresh_configuration", timeout_ms=5000)
        assert not refresh.step()
        assert 200 == ack.post("/configuration_ack", b"{}").status
        assert refresh.in_flight
        assert not ack.in_flight


def test_cancel_and_go_on() -> None:
    """A request can be given up at any moment, and the handle used again."""
    with running(silent) as hung, Trigger(parse_endpoint(hung.endpoint)) as trigger:
        trigger.start("/x", timeout_ms=5000)
        with pytest.raises(HookError) as caught:
            trigger.start("/x")
        assert "BUSY" == caught.value.name
        trigger.cancel()
        with pytest.raises(HookError) as caught:
            trigger.result()
        assert "INTERRUPTED" == caught.value.name
        with running(always(TAKEN)) as daemon:
            trigger.endpoint = parse_endpoint(daemon.endpoint)
            assert 200 == trigger.post("/x").status


def test_result_before_the_end() -> None:
    """There is no result before the first start, nor in flight."""
    with running(silent) as hung, Trigger(parse_endpoint(hung.endpoint)) as trigger:
        for _ in range(2):
            with pytest.raises(HookError) as caught:
                trigger.result()
            assert "NOT_DONE" == caught.value.name
            if not trigger.in_flight:
                trigger.start("/x")


@pytest.mark.parametrize(
    ("path", "headers", "timeout_ms"),
    [
        ("", [], 1000),
        ("x", [], 1000),
        ("/a b", [], 1000),
        ("/a\r\nX-Evil: 1", [], 1000),
        ("/x", ["X: a\r\nY: b"], 1000),
        ("/x", [], 0),
        ("/x", [], 2**31),
    ],
)
def test_arguments(path: str, headers: list[str], timeout_ms: int) -> None:
    """What would not be one request with a deadline is refused before anything is sent."""
    with running(always(TAKEN)) as daemon, Trigger(parse_endpoint(daemon.endpoint)) as trigger:
        with pytest.raises(HookError) as caught:
            trigger.start(path, headers=headers, timeout_ms=timeout_ms)
        assert "ARGUMENT" == caught.value.name
        assert not trigger.in_flight
    assert 0 == daemon.connections


def c_post(daemon: Daemon, wait: Callable[[Any, Any, int, int], bool]) -> tuple[int, int]:
    """Post by the blocking C form with this wait; return result and HTTP status."""
    callback = ffi.callback("bool(void *, struct pgh_wait_fd *, size_t, int32_t)", wait)
    endpoint, out = ffi.new("struct pgh_endpoint *"), ffi.new("struct pgh_trigger **")
    lib.pgh_endpoint_parse(daemon.endpoint.encode(), endpoint)
    assert lib.pgh_trigger_new(out) == lib.PGH_OK
    path, reply = ffi.new("char[]", b"/x"), ffi.new("struct pgh_answer *")
    post = ffi.new("struct pgh_post *", {"path": path, "timeout_ms": 5000})
    result = lib.pgh_trigger_post(out[0], endpoint, post, callback, ffi.NULL, reply)
    lib.pgh_trigger_free(out[0])
    return result, reply.http_status


def test_blocking_form_waits_by_the_host() -> None:
    """libcurl never waits: every wait is the host's, with descriptors and a bounded time."""
    waits: list[tuple[int, int]] = []

    def wait(_context: Any, fds: Any, count: int, timeout_ms: int) -> bool:
        waits.append((count, timeout_ms))
        poll = select.poll()
        for i in range(count):
            poll.register(fds[i].fd, select.POLLIN if fds[i].events & 1 else select.POLLOUT)
        poll.poll(timeout_ms)
        for i in range(count):
            fds[i].ready = fds[i].events
        return True

    with running(always(TAKEN)) as daemon:
        assert c_post(daemon, wait) == (lib.PGH_OK, 200)
    assert 1 == max(count for count, _ in waits)
    assert all(0 <= timeout_ms <= 5000 for _, timeout_ms in waits)
    assert len(waits) < 20


def test_blocking_form_is_interrupted() -> None:
    """The host's wait can end the request: shutdown does not wait for a hung daemon."""
    with running(silent) as daemon:
        assert c_post(daemon, lambda *_: False) == (lib.PGH_ERR_INTERRUPTED, 0)
