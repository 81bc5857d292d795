"""What the OpenAPI document of this API says beside its routes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from compute_common.http import openapi
from compute_ctl.decisions.status import Shown
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
    found = openapi.document(routes, ABOUT)
    for (
        shown
    ) in Shown.__subclasses__():  # defaults are for answers of earlier daemons; this one sets all
        schema = found["components"]["schemas"][shown.__name__]
        schema["required"] = list(schema["properties"])
        for field in schema["properties"].values():
            field.pop("default", None)
    return found


def document_json(routes: Iterable[Route]) -> bytes:
    """Return the document as JSON."""
    return msgspec.json.encode(document(routes)) + b"\n"
