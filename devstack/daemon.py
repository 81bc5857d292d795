"""Run compute_ctl as a child process and talk to its unix socket and loopback port."""

import http.client
import json
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from devstack.process import Program
from devstack.wait import wait_until

START_TIMEOUT = 60.0
"""Generous: on an empty data directory initdb comes first, perhaps on a loaded machine."""
CALL_TIMEOUT = 30.0


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        """Connect to the path instead of the host."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class Daemon(Program):
    """One compute_ctl for one data directory; `port` is its loopback listener."""

    name = "compute_ctl"
    start_timeout = START_TIMEOUT
    stop_timeout = 40.0

    def __init__(
        self,
        *,
        pgdata: Path,
        connstr: str,
        port: int,
        log: Path,
        pgbin: str,
        compute_id: str = "compute-1",
        config: Path | None = None,
        control_plane: str | None = None,
        token: str | None = None,
        attach: bool = True,
        extra: Sequence[str] = (),
    ) -> None:
        super().__init__(log=log)
        self.pgdata = pgdata
        self.port = port
        self.socket = pgdata / "compute_ctl" / "ctl.sock"
        self.env = {"NEON_CONTROL_PLANE_TOKEN": token} if token else {}
        self.argv += [sys.executable, "-m", "compute_ctl"]
        self.argv += ["--pgdata", pgdata, "--connstr", connstr, "--compute-id", compute_id]
        self.argv += ["--internal-http-port", str(port), "--pgbin", pgbin]
        self.argv += ["--external-http-port", "0"]  # many run side by side
        self.argv += ["--attach"] if attach else []
        self.argv += ["--config", config] if config else []
        self.argv += ["--control-plane-uri", control_plane] if control_plane else []
        self.argv += extra

    def answers(self) -> bool:
        """Whether compute_ctl answers `/livez`, as its event loop does. Raises OSError."""
        return self.call("GET", "/livez", timeout=1.0)[0] == 200

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        tcp: bool = False,
        headers: Mapping[str, str] | None = None,
        timeout: float = CALL_TIMEOUT,
    ) -> tuple[int, Any]:
        """One request over the unix socket, or the loopback port; status and decoded body.

        A body that is no JSON comes back as text.
        """
        connection: http.client.HTTPConnection = (
            http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
            if tcp
            else UnixConnection(self.socket, timeout)
        )
        content = {"Content-Type": "application/json"} if body is not None else {}
        raw = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        try:
            connection.request(method, path, raw, {**content, **(headers or {})})
            answer = connection.getresponse()
            text = answer.read().decode()
        finally:
            connection.close()
        try:
            return answer.status, json.loads(text) if text else None
        except json.JSONDecodeError:
            return answer.status, text

    def status(self) -> dict[str, Any]:
        """Answer of GET /status."""
        code, body = self.call("GET", "/status")
        assert code == 200, body
        found: dict[str, Any] = body
        return found

    def refresh(self, wait: float = 20.0) -> str:
        """Ask for a refresh over the loopback port and return its outcome."""
        code, body = self.call("POST", f"/refresh_configuration?wait={wait:g}", tcp=True)
        assert code == 200, body
        outcome: str = body["outcome"]
        return outcome

    def wait_status(
        self, what: str, condition: Callable[[dict[str, Any]], Any], timeout: float = 60
    ) -> Any:
        """Wait until *condition* of the status is true; *what* names it."""
        return wait_until(what, lambda: condition(self.status()), timeout)

    def metric(self, name: str) -> float:
        """Sum of the samples of one metric."""
        code, text = self.call("GET", "/metrics")
        assert code == 200, text
        samples = [line for line in text.splitlines() if line.split("{")[0].split(" ")[0] == name]
        return sum(float(line.rsplit(" ", 1)[1]) for line in samples)
