"""Refresh requests over 64 kept-open connections, and a bare server to put under the same load.

python -m bench.load --at PORT --requests N    be the client; prints one JSON object
python -m bench.load --bare PORT               be the server: one constant answer
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from dataclasses import dataclass

from bench.figures import quantile

CONNECTIONS = 64
PATH = "/refresh_configuration"
ANSWER_TIMEOUT_S = 30.0
BODY = b'{"status":"running","refresh_id":1,"coalesced":false}\n'


@dataclass(frozen=True, kw_only=True)
class Load:
    """What the client saw."""

    seconds: float
    times_ms: list[float]
    """Of each request, until its answer."""

    @property
    def requests(self) -> int:
        """How many were answered."""
        return len(self.times_ms)

    @property
    def rate(self) -> float:
        """Answers a second."""
        return self.requests / self.seconds

    def latency_ms(self, share: float) -> float:
        """What so large a share of the requests did not exceed."""
        return quantile(self.times_ms, share)


async def load(port: int, requests: int) -> Load:
    """Send *requests* over 64 connections."""
    times: list[float] = []
    begun = time.perf_counter()
    await asyncio.gather(*(_post(port, requests // CONNECTIONS, times) for _ in range(CONNECTIONS)))
    return Load(seconds=time.perf_counter() - begun, times_ms=times)


async def _post(port: int, count: int, times_ms: list[float]) -> None:
    """Send *count* requests over one connection, each after the answer to the last."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    request = f"POST {PATH} HTTP/1.1\r\nHost: localhost\r\nUser-Agent: bench\r\n\r\n".encode()
    try:
        for _ in range(count):
            begun = time.perf_counter()
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                writer.write(request)
                head = await reader.readuntil(b"\r\n\r\n")
                if not head.startswith(b"HTTP/1.1 200"):
                    raise RuntimeError(f"refused: {head.splitlines()[0].decode()}")
                length = head.lower().split(b"content-length:")[1].split(b"\r\n")[0]
                await reader.readexactly(int(length))
            times_ms.append((time.perf_counter() - begun) * 1000)
    finally:
        writer.close()


def serve_bare(port: int) -> None:
    """Be the server to compare with: the daemon's HTTP library, one constant answer."""
    from aiohttp import web  # noqa: PLC0415 -- not in the client

    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=BODY, content_type="application/json")

    application = web.Application()
    application.router.add_post(PATH, answer)
    web.run_app(application, host="127.0.0.1", port=port, access_log=None, print=None)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.load", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--at", type=int, metavar="PORT")
    parser.add_argument("--requests", type=int, default=10_000, metavar="N")
    parser.add_argument("--bare", type=int, metavar="PORT")
    given = parser.parse_args()
    if given.bare:
        serve_bare(given.bare)
        return
    if not given.at:
        parser.error("one of --at and --bare is needed")
    found = asyncio.run(load(given.at, given.requests))
    print(json.dumps({"seconds": found.seconds, "times_ms": found.times_ms}))


if __name__ == "__main__":
    main()
