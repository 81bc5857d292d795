"""How a compute reaches the servers of the storage. Pure."""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

from control_plane.decisions.model import NodeList, Safekeeper, StorageNode

DEFAULT_SAFEKEEPER_PORT: Final = 5454
"""Neon's own default; used only where the storage controller lists no safekeepers."""


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

    The host name of a notification counts only where the controller lists no safekeepers at all.
    """
    for known in nodes.safekeepers:
        if known.id == keeper.id:
            return endpoint(known.host, known.port)
    if nodes.safekeepers or not keeper.hostname:
        return None
    return endpoint(keeper.hostname, DEFAULT_SAFEKEEPER_PORT)
