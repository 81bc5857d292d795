"""One request to a daemon. Blocking `http.client`, since a command makes one request at a time."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from compute_common.system.unix_path import at_path

MAX_RESPONSE: Final = 16 * 1024 * 1024


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: Path, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        at_path(self._path.absolute(), self.sock.connect)


def exchange(
    connection: http.client.HTTPConnection,
    method: str,
    path: str,
    *,
    body: bytes | None = None,
    headers: Mapping[str, str],
) -> tuple[int, Any]:
    """Send one request; return the status and the JSON of the answer, None for an empty one.

    Raises:
        OSError: there is no answer.
        HTTPException: it is not HTTP.
        ValueError: it is not JSON.
    """
    try:
        connection.request(method, path, body=body, headers=dict(headers))
        response = connection.getresponse()
        raw = response.read(MAX_RESPONSE)
    finally:
        connection.close()
    return response.status, json.loads(raw) if raw else None
