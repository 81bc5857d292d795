"""Whether an address is one of this machine."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from contextlib import suppress


async def is_own_host(host: str) -> bool:
    """Return whether *host* is an address of this machine; False where its name is not known."""
    loop = asyncio.get_running_loop()
    with suppress(OSError, UnicodeError):
        found = await loop.getaddrinfo(host, 1, type=socket.SOCK_DGRAM)
        return any(_is_local(family, str(address[0])) for family, _, _, _, address in found)
    return False


def _is_local(family: int, address: str) -> bool:
    """Whether the kernel would send to *address* from that address itself; nothing is sent."""
    known = ipaddress.ip_address(address.partition("%")[0])
    if known.is_loopback or known.is_unspecified:
        return True
    with suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.connect((address, 1))
        return bool(probe.getsockname()[0] == address)
    return False
