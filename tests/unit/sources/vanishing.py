"""A control plane whose host vanishes between two requests; run it in a network of its own.

The network is the loopback device of a new namespace, which is taken down: no packet arrives any
more, and nobody is told. Prints the seconds that the second request took, and how it failed.
"""

import asyncio

from compute_ctl.errors import FetchError
from compute_ctl.sources.control_plane import ControlPlane
from tests.support.loopback import set_loopback

EMPTY = b'{"status":"empty"}'
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(EMPTY), EMPTY)


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer each request."""
    while await reader.readuntil(b"\r\n\r\n"):
        writer.write(ANSWER)


async def main() -> None:
    """Ask, vanish, ask again."""
    set_loopback(up=True)
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    client = ControlPlane(f"http://127.0.0.1:{port}", compute_id="c")
    await client.fetch()
    set_loopback(up=False)
    clock = asyncio.get_running_loop().time
    begun = clock()
    try:
        await client.fetch()
    except FetchError as error:
        print(clock() - begun, str(error).rpartition(": ")[2])  # noqa: T201 - it is the result
    await client.close()


if __name__ == "__main__":
    asyncio.run(main())
