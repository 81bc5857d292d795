"""How long a heal takes, beside the floor of this machine and beside the reference's policy.

Three things in one run, so that only their ratios count:

- *ours*: pageserver A is killed while the new document is published already; from the kill to the
  first page from B, in a session that reads all the time;
- the *floor*: what such a heal cannot do without, each step done alone: a refused connect, a
  loopback POST, reading the document, write + fsync + rename, SIGHUP until the new shard map is
  visible in shared memory, and one connect with one page;
- the *reference policy*: attempts 1 ms apart, doubling to 1 s; the daemon is asked from the 17th
  failure on (as Neon's libpagestore does it).

    .venv/bin/python -m bench.heal [--rounds 50] [--reference-rounds 2] [--json]
"""

import argparse
import http.client
import json
import os
import socket
import statistics
import sys
import time
from collections.abc import Callable

from devstack.compute import Compute
from devstack.launch import Pageserver
from devstack.postgres import Postgres, Template

FIRST_PAGE = b"select length(neon_refresh.read_page('story', 0))"
REFERENCE_ASKS_AFTER = 17
REFERENCE_DELAYS_S = (0.001, 1.0)


def timed(step: Callable[[], object]) -> float:
    """Return how many milliseconds *step* took."""
    begun = time.perf_counter()
    step()
    return (time.perf_counter() - begun) * 1000


def refused(port: int) -> None:
    """Connect to a port where nobody listens."""
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", port)) == 0:
            raise RuntimeError(f"somebody listens on port {port}")


class Ours:
    """A compute that loses one pageserver after the other."""

    def __init__(self, compute: Compute) -> None:
        self._compute = compute
        self._started = 0
        compute.fill(2000)
        self._current = self._next()
        compute.publish(self._current)
        compute.start_daemon()
        self._session = compute.postgres.connect()
        self._session.execute(FIRST_PAGE)

    def _next(self) -> Pageserver:
        self._started += 1
        return self._compute.pageserver(f"pageserver-{self._started}")

    def heal(self) -> float:
        """Return the milliseconds from the death of a pageserver to the first page of the next."""
        new = self._next()
        self._compute.publish(new)
        self._current.kill()
        self._current = new
        taken = timed(lambda: self._session.execute(FIRST_PAGE))
        self._compute.wait_in_sync()
        return taken

    def first_page(self) -> float:
        """Return the milliseconds of one connect to a pageserver and one page."""
        with self._compute.postgres.connect() as fresh:
            return timed(lambda: fresh.execute(FIRST_PAGE))

    def ask(self) -> float:
        """Return the milliseconds of one request to the daemon."""
        connection = http.client.HTTPConnection("127.0.0.1", self._compute.port, timeout=5)
        try:
            return timed(lambda: self._exchange(connection))
        finally:
            connection.close()

    @staticmethod
    def _exchange(connection: http.client.HTTPConnection) -> None:
        connection.request("GET", "/livez")
        connection.getresponse().read()


class Floor:
    """The steps that no heal can do without, each alone."""

    def __init__(self, ours: Ours, server: Postgres) -> None:
        self._ours = ours
        self._server = server
        self._watcher = server.connect()
        self._watcher.execute("create extension neon_refresh")
        self._ports = [1, 2]

    def round(self) -> float:
        """Return the sum of all steps in milliseconds."""
        return (
            timed(lambda: refused(self._ports[0]))
            + self._ours.ask()
            + timed(self._replace)
            + self._publish()
            + self._ours.first_page()
        )

    def _replace(self) -> None:
        temporary = self._server.folder / "floor.tmp"
        with temporary.open("wb") as file:
            file.write(b"x" * 1000)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self._server.folder / "floor")

    def _publish(self) -> float:
        """SIGHUP until a session that does nothing else sees the new map in shared memory."""
        self._ports.reverse()
        url = f"postgresql://no_user@127.0.0.1:{self._ports[0]}"
        self._server.configure({"neon.pageserver_connstring": url})
        query = b"select map_generation from neon_refresh.stat"
        before = self._watcher.execute(query).fetchone()

        def visible() -> None:
            self._server.reload()
            while self._watcher.execute(query).fetchone() == before:
                pass

        return timed(visible)


def reference_policy(dead_port: int) -> float:
    """Return the milliseconds until the reference's policy asks its daemon for the first time.

    Everything after that (fetch, reload, next attempt) comes on top.
    """
    begun = time.perf_counter()
    delay, failures, last = REFERENCE_DELAYS_S[0], 0, -1.0
    while True:
        pause = last + delay - time.perf_counter()
        if last >= 0 and pause > 0:
            time.sleep(pause)
        if last >= 0:
            delay = min(2 * delay, REFERENCE_DELAYS_S[1])
        if failures >= REFERENCE_ASKS_AFTER:
            return (time.perf_counter() - begun) * 1000
        last = time.perf_counter()
        refused(dead_port)
        failures += 1


def summary(times: list[float]) -> dict[str, float]:
    """Return median, p99 and worst of *times*."""
    ordered = sorted(times)
    p99 = ordered[min(len(ordered) - 1, round(0.99 * (len(ordered) - 1)))]
    return {
        "rounds": len(ordered),
        "median_ms": round(statistics.median(ordered), 3),
        "p99_ms": round(p99, 3),
        "worst_ms": round(ordered[-1], 3),
    }


def measure(rounds: int, reference_rounds: int) -> dict[str, dict[str, float]]:
    """Run everything, ours and the floor taking turns."""
    template = Template()
    try:
        with Compute(template, name="bench") as compute, Postgres(template, name="floor") as server:
            server.configure({"shared_preload_libraries": "neon_refresh"})
            floor = Floor(ours := Ours(compute), server.start())
            pairs = [(ours.heal(), floor.round()) for _ in range(rounds)]
    finally:
        template.remove()
    return {
        "floor": summary([pair[1] for pair in pairs]),
        "ours": summary([pair[0] for pair in pairs]),
        "reference policy": summary([reference_policy(1) for _ in range(reference_rounds)]),
    }


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.heal", description=__doc__)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--reference-rounds", type=int, default=2)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    found = measure(arguments.rounds, arguments.reference_rounds)
    if arguments.json:
        print(json.dumps(found))
        return 0
    floor = found["floor"]["median_ms"]
    print(f"{'':18}{'median':>12}{'p99':>12}{'worst':>12}{'x floor':>10}")
    for name, row in found.items():
        cells = "".join(f"{row[key]:>9.1f} ms" for key in ("median_ms", "p99_ms", "worst_ms"))
        print(f"{name:18}{cells}{row['median_ms'] / floor:>10.1f}")
    ratio = found["reference policy"]["median_ms"] / found["ours"]["median_ms"]
    print(f"ours heals {ratio:.0f} times as fast as the reference's policy begins to ask")
    return 0


if __name__ == "__main__":
    sys.exit(main())
