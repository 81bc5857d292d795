"""What the OpenAPI document of this API says beside its routes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from compute_common.http import openapi
from compute_ctl.http.api import Listener, Route

ABOUT: Final = openapi.About(
    title="compute_ctl",
    description="The loopback port, the unix socket and the external port serve "
    "different routes. `x-doors` says where a route is served; elsewhere it answers 403.",
    listeners=tuple(Listener),
    with_token=(Listener.EXTERNAL,),
    reasons={
        409: "superseded, or older than what is desired",
        412: "the compute is terminating",
    },
)


def document(routes: Iterable[Route]) -> dict[str, Any]:
    """Return the document for *routes*."""
    return openapi.document(routes, ABOUT)


def document_bytes(routes: Iterable[Route]) -> bytes:
    """Return the document as JSON."""
    return openapi.document_bytes(routes, ABOUT)
