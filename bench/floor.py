"""The floor of this machine: what no heal can do without, each step alone, nothing around it.

Detect by a refused `connect()`; one POST and one GET over loopback, to a process that does nothing
but answer; write the file and rename it; SIGHUP until a backend that spins sees the new list in
shared memory; connect to a pageserver by plain libpq and read one page.
"""

import os
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

from bench.pagestream import must_connect, page_requests, read_page
from devstack.compute import Compute
from devstack.wait import wait_until

STEPS = ("connect refused", "POST", "GET", "write and rename", "SIGHUP", "connect and page")
DOCUMENT = b"x" * 1500
TIMEOUT_S = 10.0
SPIN = """
create function spin(before bigint) returns float8 language plpgsql as $$
begin
    while (select map_generation from neon_refresh.stat_row()) = before loop
    end loop;
    return extract(epoch from clock_timestamp());
end $$
"""
GENERATION = "select map_generation from neon_refresh.stat"


def timed(step: Callable[[], object]) -> float:
    """Return how many milliseconds *step* took."""
    begun = time.perf_counter()
    step()
    return (time.perf_counter() - begun) * 1000


class Echo:
    """A process that answers every request with the same document."""

    def __init__(self) -> None:
        listener = socket.create_server(("127.0.0.1", 0))
        self.address: tuple[str, int] = listener.getsockname()
        self._pid = os.fork()
        if self._pid == 0:
            try:
                _serve(listener)
            finally:
                os._exit(1)
        listener.close()

    def ask(self, method: str) -> None:
        """Connect, send one request, read the answer to its end."""
        head = f"{method} / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n"
        with socket.create_connection(self.address, TIMEOUT_S) as connection:
            connection.sendall(head.encode())
            while connection.recv(65536):
                pass

    def stop(self) -> None:
        """End the process."""
        os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)


def _serve(listener: socket.socket) -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(DOCUMENT) + DOCUMENT
    while True:
        with listener.accept()[0] as connection:
            connection.recv(65536)
            connection.sendall(answer)


class Floor:
    """A server with the library and nothing else to do; use it as a context manager."""

    def __init__(self, compute: Compute) -> None:
        self._server = compute.postgres
        compute.fill(100)
        self._pageserver = compute.pageserver("floor")
        self._request = page_requests(self._server, "story", 1)[0]
        self._spinner = self._server.connect()
        self._spinner.execute(SPIN)
        self._file = compute.folder / "floor"
        self._dead_ports = [1, 2]
        self._echo = Echo()

    def round(self) -> dict[str, float]:
        """Return the milliseconds of each step."""
        steps = (
            timed(self._refused),
            timed(lambda: self._echo.ask("POST")),
            timed(lambda: self._echo.ask("GET")),
            timed(self._replace),
            self._reload(),
            timed(self._page),
        )
        return dict(zip(STEPS, steps, strict=True))

    def _refused(self) -> None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", self._dead_ports[0])) == 0:
                raise RuntimeError(f"somebody listens on port {self._dead_ports[0]}")

    def _replace(self) -> None:
        temporary = Path(f"{self._file}.tmp")
        temporary.write_bytes(DOCUMENT)
        temporary.rename(self._file)

    def _reload(self) -> float:
        """SIGHUP until a session that does nothing else sees the new list."""
        self._dead_ports.reverse()
        url = f"postgresql://no_user@127.0.0.1:{self._dead_ports[0]}"
        self._server.configure({"neon.pageserver_connstring": url})
        pid = self._spinner.info.backend_pid
        before = self._server.value(GENERATION)
        self._spinner.pgconn.send_query(f"select spin({before})".encode())
        spins = f"select from pg_stat_activity where pid = {pid} and state = 'active'"
        with self._server.connect() as watcher:
            wait_until("the session to spin", lambda: watcher.execute(spins.encode()).rowcount)
        begun = time.time()
        self._server.reload()
        result = self._spinner.pgconn.get_result()
        value = None if result is None else result.get_value(0, 0)
        if value is None or self._spinner.pgconn.get_result() is not None:
            raise RuntimeError("the session saw no new list")
        return (float(value) - begun) * 1000

    def _page(self) -> None:
        stream = must_connect(self._pageserver.url)
        read_page(stream, self._request)
        stream.finish()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._echo.stop()
        self._spinner.close()
