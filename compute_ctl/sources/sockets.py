"""TCP sockets that notice when the other host has vanished, rather than wait for an answer.

A host that is switched off, a dropped NAT entry or a cut cable send no word: without this, a
request on a connection kept from before costs the deadline of the whole answer. A host that is
only slow acknowledges what it gets, so it is not asked twice.
"""

from __future__ import annotations

import math
import socket
from typing import Final

from aiohttp import AddrInfoType, SocketFactoryType

KEEPALIVE: Final = {socket.TCP_KEEPIDLE: 5, socket.TCP_KEEPINTVL: 2}
"""Seconds of silence until a connection is probed, and for which the probe may stay unanswered.

TCP_USER_TIMEOUT takes the place of a number of probes (Linux, tcp(7)).
"""


def vigilant(unacknowledged_s: float) -> SocketFactoryType:
    """Return what makes sockets that break when nothing was acknowledged for *unacknowledged_s*."""

    def make(address: AddrInfoType) -> socket.socket:
        family, kind, protocol = address[:3]
        made = socket.socket(family, kind, protocol)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in KEEPALIVE.items():
            made.setsockopt(socket.IPPROTO_TCP, option, value)
        limit_ms = math.ceil(unacknowledged_s * 1000)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, limit_ms)
        return made

    return make
