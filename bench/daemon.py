"""How heavy and how fast the daemon is: `python -m bench.daemon [--requests N]`.

A real Postgres, compute_ctl attached to it, and N refresh requests over 64 kept-open connections.
The same client then asks a bare aiohttp server, so that the numbers can be read on any machine.
Goals: ready within 500 ms, under 55 MB after 10,000 requests and not growing, thousands a second.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from devstack.compute import Compute
from devstack.daemon import Daemon
from devstack.installation import free_port
from devstack.postgres import Template
from devstack.process import Child
from devstack.wait import wait_until

CONNECTIONS = 64
PATH = "/refresh_configuration"
START_TIMEOUT_S = 20.0
ANSWER_TIMEOUT_S = 30.0
BODY = b'{"status":"running","refresh_id":1,"coalesced":false}\n'


@dataclass(frozen=True, kw_only=True)
class Load:
    """What the client saw."""

    requests: int
    seconds: float
    worst_ms: float

    @property
    def rate(self) -> float:
        """Answers a second."""
        return self.requests / self.seconds


async def post(port: int, count: int, worst: list[float]) -> None:
    """Send *count* requests over one connection, each after the answer to the last."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    request = f"POST {PATH} HTTP/1.1\r\nHost: localhost\r\nUser-Agent: bench\r\n\r\n".encode()
    try:
        for _ in range(count):
            begin = time.perf_counter()
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                writer.write(request)
                head = await reader.readuntil(b"\r\n\r\n")
                if not head.startswith(b"HTTP/1.1 200"):
                    raise RuntimeError(f"refused: {head.splitlines()[0].decode()}")
                length = head.lower().split(b"content-length:")[1].split(b"\r\n")[0]
                await reader.readexactly(int(length))
            worst[0] = max(worst[0], (time.perf_counter() - begin) * 1000)
    finally:
        writer.close()


async def load(port: int, requests: int) -> Load:
    """Send *requests* over 64 connections."""
    each, worst, begin = requests // CONNECTIONS, [0.0], time.perf_counter()
    await asyncio.gather(*(post(port, each, worst) for _ in range(CONNECTIONS)))
    return Load(requests=each * CONNECTIONS, seconds=time.perf_counter() - begin, worst_ms=worst[0])


def memory_mb(pid: int) -> float:
    """Resident memory of a process."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"no VmRSS of process {pid}")


def start_to_ready_ms(daemon: Daemon) -> float:
    """Start the daemon; how long until /readyz says yes."""
    begin = time.perf_counter()
    daemon.start()
    wait_until("readyz", lambda: daemon.call("GET", "/readyz")[0] == 200, START_TIMEOUT_S)
    return (time.perf_counter() - begin) * 1000


def serve_bare(port: int) -> None:
    """Be the server to compare with: the same library, one constant answer."""
    from aiohttp import web  # noqa: PLC0415 -- not in the client

    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=BODY, content_type="application/json")

    application = web.Application()
    application.router.add_post(PATH, answer)
    web.run_app(application, host="127.0.0.1", port=port, access_log=None, print=None)


def bare(requests: int) -> tuple[Load, float, float]:
    """Measure the bare server; its load, memory, and how long it took to start."""
    port = free_port()
    argv = [sys.executable, "-m", "bench.daemon", "--serve-bare", str(port)]
    begin = time.perf_counter()
    child = Child(argv, stderr=Path(os.devnull), ready=False)
    try:
        wait_until("the bare server", lambda: listens(port), START_TIMEOUT_S)
        ready_ms = (time.perf_counter() - begin) * 1000
        return asyncio.run(load(port, requests)), memory_mb(child.pid), ready_ms
    finally:
        child.stop()


def listens(port: int) -> bool:
    """Whether somebody listens on *port*."""
    import socket  # noqa: PLC0415 -- only here

    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def measure(requests: int) -> None:
    """Measure and print."""
    template = Template()
    try:
        with Compute(template, name="bench") as compute:
            compute.publish(compute.pageserver("a"))
            daemon = compute.daemon
            try:
                starts = []
                for _ in range(3):
                    starts.append(start_to_ready_ms(daemon))
                    compute.wait_in_sync()
                    if len(starts) < 3:
                        daemon.stop()
                report(daemon, compute.port, requests, starts)
            finally:
                daemon.stop()
    finally:
        template.remove()


def report(daemon: Daemon, port: int, requests: int, starts: list[float]) -> None:
    """Put the daemon and the bare server under the same load, and print all numbers."""
    print(f"start to ready       {min(starts):8.0f} ms   (best of {len(starts)})")
    print(f"memory, started      {memory_mb(daemon.pid):8.1f} MB")
    for part in range(1, 4):
        found = asyncio.run(load(port, requests))
        print(
            f"after {part * found.requests:6} requests {memory_mb(daemon.pid):7.1f} MB   "
            f"{found.rate:6.0f} requests/s, worst {found.worst_ms:.0f} ms"
        )
    daemon.wait_status("rest", lambda status: not status["refresh"]["pending"])
    print(f"fetches for all that {daemon.metric('compute_ctl_refresh_attempts_total'):8.0f}")
    found, megabytes, ready_ms = bare(requests)
    print(f"bare aiohttp         {megabytes:8.1f} MB   {found.rate:6.0f} requests/s, ", end="")
    print(f"worst {found.worst_ms:.0f} ms, started in {ready_ms:.0f} ms")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.daemon", description=__doc__)
    parser.add_argument("--requests", type=int, default=10_000, metavar="N")
    parser.add_argument("--serve-bare", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve_bare:
        serve_bare(given.serve_bare)
    else:
        measure(given.requests)


if __name__ == "__main__":
    main()
