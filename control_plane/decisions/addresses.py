"""How a compute reaches the servers of the storage. Pure."""

from __future__ import annotations

import re
from ipaddress import IPv6Address
from typing import Final
from urllib.parse import quote

from control_plane.decisions.model import NodeList, Safekeeper, StorageNode

_HOST_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,252}")


def is_host(text: str) -> bool:
    """Return whether *text* can be a host name or an IP address.

    What else a storage controller may say would end up in addresses that nobody can reach.
    """
    if ":" not in text:
        return _HOST_NAME.fullmatch(text) is not None
    try:
        IPv6Address(bare(text))
    except ValueError:
        return False
    return "%" not in text


def endpoint(host: str, port: int) -> str:
    """Return ``host:port``, an IPv6 address in brackets."""
    return f"[{bare(host)}]:{port}" if ":" in host else f"{host}:{port}"


def bare(host: str) -> str:
    """Return *host* without the brackets that an IPv6 address may have."""
    return host[1:-1] if host.startswith("[") and host.endswith("]") else host


def pageserver_url(node: StorageNode) -> str:
    """Return the URL by which a compute connects to the libpq port of *node*."""
    host = node.listen_pg_addr
    quoted = host if ":" in host else quote(host, safe="")
    return f"postgresql://no_user@{endpoint(quoted, node.listen_pg_port)}"


def safekeeper_address(keeper: Safekeeper, nodes: NodeList) -> str | None:
    """Return ``host:port`` of a safekeeper, None where it is not known.

    The host name of a notification has no port. A guess would be published under a generation to
    which other addresses may not be given later: the daemon refuses that.
    """
    for known in nodes.safekeepers:
        if known.id == keeper.id:
            return endpoint(known.host, known.port)
    return None
