"""A client of the control plane stand-in that can leave a request open."""

import http.client
import select
from typing import Any

from devstack.document import attached
from devstack.launch import ControlPlane

TENANT = "9f3c1d5e7a804b26a1c4e85d02f7b369"
TIMELINE = "0a1b2c3d4e5f60718293a4b5c6d7e8f9"
TOKEN = "open sesame"
EP = "hadron/ep-1"  # ids may hold a slash
PATH = f"/compute/api/v2/computes/{EP}/spec"
QUIET = 0.1


def document(**fields: Any) -> dict[str, Any]:
    """An attached document of the tenant."""
    return attached(tenant=TENANT, timeline=TIMELINE, **fields)


class Fetch:
    """One request that can be left open."""

    def __init__(self, plane: ControlPlane, token: str | None = TOKEN, **headers: str) -> None:
        self.connection = http.client.HTTPConnection(plane.address, timeout=5)
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if token is not None:
            sent["Authorization"] = f"Bearer {token}"
        self.connection.request("GET", PATH, headers=sent)

    def silent_for(self, seconds: float) -> bool:
        """Whether no answer comes within `seconds`."""
        return not select.select([self.connection.sock], [], [], seconds)[0]

    def answer(self) -> tuple[int, http.client.HTTPMessage, bytes]:
        """Status, headers, body."""
        try:
            response = self.connection.getresponse()
            return response.status, response.headers, response.read()
        finally:
            self.connection.close()


def tag_of(plane: ControlPlane) -> str:
    """The current ETag."""
    headers = Fetch(plane).answer()[1]
    return str(headers["ETag"])
