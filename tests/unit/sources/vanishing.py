"""A control plane whose host vanishes between two requests; run it in a network of its own.

The network is the loopback device of a new namespace, which is taken down: no packet arrives any
more, and nobody is told. Prints the seconds that the second request took, and how it failed.
"""

import asyncio
import fcntl
import socket
import struct

from compute_ctl.errors import FetchError
from compute_ctl.sources.control_plane import ControlPlane

EMPTY = b'{"status":"empty"}'
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(EMPTY), EMPTY)
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 0x1


def set_loopback(*, up: bool) -> None:
    """Switch the network on or off."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = fcntl.ioctl(any_socket, SIOCGIFFLAGS, struct.pack("16sH14x", b"lo", 0))
        flags = struct.unpack_from("H", request, 16)[0]
        flags = flags | IFF_UP if up else flags & ~IFF_UP
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", flags))


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
