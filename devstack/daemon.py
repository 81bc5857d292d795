"""Run compute_ctl as a child process and talk to its unix socket and loopback port."""

import http.client
import json
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from devstack.process import Child
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


class Daemon:
    """One compute_ctl for one data directory; `port` is its loopback listener.

    Use it as a context manager (it is started on entry), or call `start` and `stop`.
    """

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
        self.pgdata = pgdata
        self.port = port
        self.log = log
        self.socket = pgdata / "compute_ctl" / "ctl.sock"
        self.env = {"NEON_CONTROL_PLANE_TOKEN": token} if token else {}
        self._argv: list[str | Path] = [sys.executable, "-m", "compute_ctl"]
        self._argv += ["--pgdata", pgdata, "--connstr", connstr, "--compute-id", compute_id]
        self._argv += ["--internal-http-port", str(port), "--pgbin", pgbin]
        self._argv += ["--external-http-port", "0"]  # many run side by side
        self._argv += ["--attach"] if attach else []
        self._argv += ["--config", config] if config else []
        self._argv += ["--control-plane-uri", control_plane] if control_plane else []
        self._argv += extra
        self.child: Child | None = None

    def start(self) -> Self:
        """Start it, and wait until its API answers. Raises ChildError or AssertionError."""
        self.spawn()
        wait_until("compute_ctl to answer", self._answers, START_TIMEOUT)
        return self

    def spawn(self) -> None:
        """Start it and wait for nothing."""
        self.child = Child(self._argv, stderr=self.log, ready=False, env=self.env)

    def _answers(self) -> bool:
        if self.child is not None and self.child.poll() is not None:
            raise AssertionError(f"compute_ctl ended:\n{self.child.stderr_text()}")
        try:
            return self.call("GET", "/livez", timeout=1.0)[0] == 200
        except OSError:
            return False

    @property
    def pid(self) -> int:
        """Process id."""
        assert self.child is not None, "compute_ctl was not started"
        return self.child.pid

    def kill(self) -> None:
        """Crash it."""
        if self.child is not None:
            self.child.kill()

    def stop(self) -> int:
        """End it in order; the exit status."""
        assert self.child is not None, "compute_ctl was not started"
        return self.child.stop(timeout=40.0)

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

    def log_text(self) -> str:
        """All it has logged."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def metric(self, name: str) -> float:
        """Sum of the samples of one metric."""
        code, text = self.call("GET", "/metrics")
        assert code == 200, text
        samples = [line for line in text.splitlines() if line.split("{")[0].split(" ")[0] == name]
        return sum(float(line.rsplit(" ", 1)[1]) for line in samples)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.child is not None and self.child.poll() is None:
            self.stop()
