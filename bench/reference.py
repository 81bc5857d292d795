"""The policy of Neon's own compute, as a small program: what a heal costs without ours.

Facts only, from Neon's published source (libpagestore.c and compute_ctl's configurator):

- the backend tries again 1 ms after the last attempt's start, doubling to 1 s; it asks the daemon
  from the 17th failure in a row on, after each, and at once when an open stream ends;
- it reads the list, then sleeps, then connects: after a reload there is one more attempt at the
  old address;
- the daemon fetches when asked, and sleeps 5 s after it has found the same pageservers.

Postgres, its reload by `pg_ctl`, control plane and pageserver are those of every other benchmark.
Kinder than the original: the daemon runs no SQL after the reload.
"""

import http.client
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from bench.pagestream import connect
from devstack.compute import Compute
from devstack.installation import binary, run_as
from devstack.launch import Pageserver
from devstack.postgres import Postgres

ASKS_AFTER = 17
DELAYS_S = (0.001, 1.0)
SAME_SPEC_SLEEP_S = 5.0
ASK_TIMEOUT_S = 3.0
GIVE_UP_S = 60.0
SETTING = "neon.pageserver_connstring"


@dataclass(frozen=True, kw_only=True)
class Course:
    """What became of one outage, in milliseconds from its begin."""

    asked: float
    """The daemon was asked for the first time."""
    healed: float
    """The first connection to a pageserver that serves."""


class Daemon:
    """Fetches when it is asked, and has Postgres reload; use it as a context manager."""

    def __init__(self, compute: Compute) -> None:
        self._compute = compute
        self._known = ""
        self._take_over(self._fetch())
        self._asked, self._ended = threading.Event(), threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._threads = [
            threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True),
            threading.Thread(target=self._configure, daemon=True),
        ]

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        asked = self._asked

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                asked.set()
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:  # nobody reads it
                pass

        return Handler

    def ask(self) -> None:
        """Be the backend's POST; a failure is of no consequence, as there."""
        connection = http.client.HTTPConnection(
            "127.0.0.1", self._server.server_port, timeout=ASK_TIMEOUT_S
        )
        try:
            connection.request("POST", "/refresh_configuration")
            connection.getresponse().read()
        finally:
            connection.close()

    def _fetch(self) -> str:
        answer = self._compute.control_plane.real.spec(self._compute.compute_id).body
        shards: dict[str, Any] = answer["spec"]["pageserver_connection_info"]["shards"]
        url: str = shards["0000"]["pageservers"][0]["libpq_url"]
        return url

    def _configure(self) -> None:
        while not self._ended.is_set():
            if not self._asked.wait(0.05):
                continue
            self._asked.clear()
            found = self._fetch()
            if found == self._known:
                self._ended.wait(SAME_SPEC_SLEEP_S)
                continue
            self._take_over(found)

    def _take_over(self, url: str) -> None:
        self._compute.postgres.configure({SETTING: url})
        subprocess.run(
            [binary("pg_ctl"), "reload", "-s", "-D", str(self._compute.postgres.data)],
            check=True,
            cwd="/",
            timeout=GIVE_UP_S,
            **run_as(),
        )
        self._known = url

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._server.shutdown()
        for thread in self._threads:
            thread.join(ASK_TIMEOUT_S)
        self._server.server_close()


def suffer(server: Postgres, ask: Callable[[], None], *, stream_open: bool) -> Course:
    """Be a backend whose pageserver has just died; return when it asked and when it healed."""
    asked: list[float] = []
    delay, failures, last = DELAYS_S[0], 0, -1.0
    with server.connect() as session:
        begun = time.perf_counter()

        def poke() -> None:
            asked.append((time.perf_counter() - begun) * 1000)
            ask()

        if stream_open:
            poke()
        while time.perf_counter() - begun < GIVE_UP_S:
            (url,) = session.execute(f"show {SETTING}".encode()).fetchone() or ("",)
            if last >= 0:
                time.sleep(max(0.0, last + delay - time.perf_counter()))
            delay = min(2 * delay, DELAYS_S[1])
            last = time.perf_counter()
            if (stream := connect(url)) is not None:
                stream.finish()
                return Course(asked=asked[0], healed=(time.perf_counter() - begun) * 1000)
            failures += 1
            if failures >= ASKS_AFTER:
                poke()
    raise TimeoutError(f"the reference's policy did not heal within {GIVE_UP_S:g} s")


def run(
    compute: Compute,
    dead: Pageserver,
    healthy: Pageserver,
    rounds: int,
    *,
    stream_open: bool,
    late_s: float = 0.0,
) -> list[Course]:
    """Let the policy heal *rounds* times, on a compute whose daemon does not run."""
    found = []
    for _ in range(rounds):
        compute.publish(dead)
        with Daemon(compute) as daemon:
            timer = threading.Timer(late_s, compute.publish, [healthy])
            timer.start()
            if not late_s:
                timer.join()
            found.append(suffer(compute.postgres, daemon.ask, stream_open=stream_open))
            timer.join()
    return found
