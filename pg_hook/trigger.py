"""One POST to the daemon, on a connection that is kept between requests."""

import select
from collections.abc import Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from pg_hook._pg_hook import ffi, lib
from pg_hook.errors import c_text, check, py_text


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What the daemon said."""

    status: int
    """HTTP status."""
    body: bytes
    """The first 4096 bytes."""
    body_len: int
    """Bytes that came."""


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """Where the daemon listens: loopback, or a unix socket."""

    base_url: str
    unix_path: str = ""
    """Empty for TCP."""


def parse_endpoint(text: str) -> Endpoint:
    """Parse ``http://127.0.0.1:PORT``, ``http://[::1]:PORT`` or ``unix:/path``.

    Raises:
        HookError: it is anything else.

    """
    action = f'use endpoint "{text}"'
    out = ffi.new("struct pgh_endpoint *")
    check(lib.pgh_endpoint_parse(c_text(text, action), out), action)
    return Endpoint(base_url=py_text(out.base_url), unix_path=py_text(out.unix_path))


class Trigger:
    """A handle for one request at a time. Not thread safe; must not cross a fork."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        check(lib.pgh_trigger_global_init(), "initialise libcurl")
        out = ffi.new("struct pgh_trigger **")
        check(lib.pgh_trigger_new(out), "create trigger")
        self._handle = ffi.gc(out[0], lib.pgh_trigger_free)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End what is in flight and give the connection up."""
        ffi.release(self._handle)

    def start(
        self,
        path: str,
        body: bytes = b"",
        *,
        headers: Iterable[str] = (),
        timeout_ms: int = 3000,
        secret: bool = False,
    ) -> None:
        """Begin a request; a secret body goes to a process of our user or of root only.

        Raises:
            HookError: one is in flight already, or an argument is not fit for HTTP.

        """
        action = f'post to "{path}"'
        c_path = ffi.new("char[]", c_text(path, action))
        lines = [ffi.new("char[]", c_text(line, action)) for line in headers]
        c_lines = ffi.new("char *[]", lines)
        c_body = ffi.new("uint8_t[]", body)
        post = ffi.new(
            "struct pgh_post *",
            {
                "path": c_path,
                "body": c_body,
                "body_len": len(body),
                "headers": ffi.cast("const char *const *", c_lines),
                "header_count": len(lines),
                "timeout_ms": timeout_ms,
                "secret": secret,
            },
        )
        endpoint = ffi.new(
            "struct pgh_endpoint *",
            {
                "base_url": c_text(self.endpoint.base_url, action),
                "unix_path": c_text(self.endpoint.unix_path, action),
            },
        )
        check(lib.pgh_trigger_start(self._handle, endpoint, post), action)

    def step(self) -> bool:
        """Wait until something is ready, go on; True when the request has ended."""
        fds = ffi.new("struct pgh_wait_fd[]", lib.PGH_TRIGGER_FDS_MAX)
        timeout_ms = ffi.new("int32_t *")
        count = lib.pgh_trigger_fds(self._handle, fds, len(fds), timeout_ms)
        poll = select.poll()
        for entry in fds[0:count]:
            events = select.POLLIN if entry.events & lib.PGH_WAIT_READ else 0
            events |= select.POLLOUT if entry.events & lib.PGH_WAIT_WRITE else 0
            poll.register(entry.fd, events)
        ready = dict(poll.poll(timeout_ms[0]))
        for entry in fds[0:count]:
            came = ready.get(entry.fd, 0)
            entry.ready = lib.PGH_WAIT_READ if came & select.POLLIN else 0
            entry.ready |= lib.PGH_WAIT_WRITE if came & select.POLLOUT else 0
            if came & (select.POLLERR | select.POLLHUP):
                entry.ready = entry.events
        return bool(lib.pgh_trigger_step(self._handle, fds, count))

    def cancel(self) -> None:
        """End a request in flight; its result is INTERRUPTED."""
        lib.pgh_trigger_cancel(self._handle)

    @property
    def in_flight(self) -> bool:
        """Whether a request has been started and has not ended."""
        return bool(lib.pgh_trigger_in_flight(self._handle))

    def result(self) -> Answer:
        """Return the answer, whatever its status.

        Raises:
            HookError: there is none; ``.name`` says why (CONNECT, TIMEOUT, LOST, ANSWER_SIZE,
                INTERRUPTED, NOT_DONE, PEER), ``.detail`` holds libcurl's words.

        """
        out = ffi.new("struct pgh_answer *")
        code = lib.pgh_trigger_result(self._handle, out)
        check(code, "reach the daemon", py_text(lib.pgh_trigger_detail(self._handle)))
        kept = min(out.body_len, lib.PGH_ANSWER_KEPT)
        return Answer(
            status=out.http_status,
            body=bytes(ffi.buffer(out.body, kept)),
            body_len=out.body_len,
        )

    def post(self, path: str, body: bytes = b"", **options: Any) -> Answer:
        """Start, wait, and return the answer; arguments and errors of ``start`` and ``result``."""
        self.start(path, body, **options)
        while not self.step():
            pass
        return self.result()
