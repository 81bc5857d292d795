"""What a program says of one of its listeners."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from typing import Protocol

from compute_common.http.auth import Authenticator
from compute_common.http.limits import ConnectionLimits
from compute_common.http.sockets import Address


@dataclass(frozen=True, kw_only=True)
class ListenerSpec:
    """Where to listen, and who may ask what there."""

    name: str
    """As routes name it; a label of the metrics and, as `door`, a field of the log."""
    address: Address
    authenticate: Authenticator
    limits: ConnectionLimits = field(default_factory=ConnectionLimits)
    tls: ssl.SSLContext | None = None
    """None: no TLS. Certificates loaded into it later are used for later connections."""
    retry: bool = False
    """`HttpServer.run` tries a port that is taken again each second; else it is an error."""
    log_all: bool = False
    """Each request is logged. Elsewhere strangers must not fill the disk: 5 a second are."""


class PortObserver(Protocol):
    """Is told which ports are not open yet."""

    def port_closed(self, address: str, reason: str, /) -> None:
        """Host and port, *address*, could not be opened and are tried again."""

    def port_opened(self, address: str, /) -> None:
        """They are open, or the machine has no such address."""
