"""TCP connections: keepalive sockets, and why a connection failed.

A host that is switched off, a dropped NAT entry or a cut cable send nothing: without keepalive, a
request on a kept connection waits for the deadline of the whole answer. A host that is only slow
still acknowledges what it gets, so its connection stays.
"""

from __future__ import annotations

import math
import os
import socket
import ssl
from typing import Final

import aiohttp
from aiohttp import AddrInfoType, SocketFactoryType

KEEPALIVE: Final = {socket.TCP_KEEPIDLE: 5, socket.TCP_KEEPINTVL: 2}
"""Seconds of silence until a connection is probed, and for which the probe may stay unanswered.

TCP_USER_TIMEOUT takes the place of a number of probes (Linux, tcp(7)).
"""


def keepalive_socket_factory(unacknowledged_s: float) -> SocketFactoryType:
    """Return a factory of sockets that fail once data was unacknowledged for *unacknowledged_s*."""

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


def connection_error(error: aiohttp.ClientConnectorError, ca_flag: str) -> str:
    """Return why there is no connection, in the words of the system instead of asyncio's.

    *ca_flag* names the authorities to trust.
    """
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        why = str(cause := error.certificate_error)
        if isinstance(cause, ssl.SSLCertVerificationError):
            why = cause.verify_message
        return f"its certificate is not valid: {why} (is {ca_flag} right?)"
    return f"could not connect: {system_words(error.os_error)}"


def system_words(cause: OSError) -> str:
    """Return the system's own words for *cause*, in lower case."""
    if isinstance(cause, ssl.SSLError):  # its number is OpenSSL's
        return (cause.reason or str(cause)).replace("_", " ").lower()
    if isinstance(cause, socket.gaierror) or not cause.errno:
        return (cause.strerror or str(cause)).lower()
    return os.strerror(cause.errno).lower()
