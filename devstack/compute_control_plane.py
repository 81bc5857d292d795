"""Run compute_control_plane as a child process, and be an operator, a compute or a controller."""

import http.client
import json
import os
import signal
import ssl
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from devstack.daemon import UnixConnection
from devstack.installation import free_port
from devstack.process import Program
from devstack.wait import wait_until

START_TIMEOUT = 60.0
CALL_TIMEOUT = 30.0
HOOK_TOKEN = "token-of-the-storage-controller"
COMPUTE_TOKEN = "token-of-all-computes"


class Answer:
    """What was answered: `code`, `headers`, and `body` decoded where it is JSON."""

    def __init__(self, found: http.client.HTTPResponse) -> None:
        self.code = found.status
        self.headers = found.headers
        text = found.read().decode()
        try:
            self.body: Any = json.loads(text) if text else None
        except json.JSONDecodeError:
            self.body = text


class ComputeControlPlane(Program):
    """One control plane with its store in *folder*; its port stays the same when it is restarted.

    `tls`: PEM files of certificate and key.
    """

    name = "compute_control_plane"
    start_timeout = START_TIMEOUT
    stop_timeout = 10.0

    def __init__(
        self,
        folder: Path,
        *,
        port: int | None = None,
        storage_controller: str | None = None,
        tls: tuple[Path, Path] | None = None,
        tokens: bool = True,
        extra: Sequence[str | Path] = (),
    ) -> None:
        super().__init__(log=folder / "compute_control_plane.log")
        self.folder = folder
        self.port = free_port() if port is None else port
        self.socket = folder / "admin.sock"
        self.tls = tls
        scheme = "http" if tls is None else "https"
        self.base_url = f"{scheme}://127.0.0.1:{self.port}"
        self.token = COMPUTE_TOKEN if tokens else None
        self.hook_token = HOOK_TOKEN if tokens else None
        self.argv += [sys.executable, "-m", "control_plane", "run"]
        self.argv += ["--listen", f"127.0.0.1:{self.port}", "--store", folder / "state.db"]
        self.argv += ["--storage-controller", storage_controller] if storage_controller else []
        self.argv += ["--tls-cert", tls[0], "--tls-key", tls[1]] if tls else []
        if tokens:
            self.argv += ["--hook-token-file", _secret(folder / "hook.token", HOOK_TOKEN)]
            self.argv += ["--compute-token-file", _secret(folder / "compute.token", COMPUTE_TOKEN)]
        self.argv += extra

    def answers(self) -> bool:
        """Whether it is ready. Raises OSError."""
        return self.call("GET", "/readyz", timeout=1.0).code == 200

    def restart(self) -> None:
        """Crash it, and start it again."""
        self.kill()
        self.start()

    def reload(self) -> None:
        """Have it read its certificate again."""
        os.kill(self.pid, signal.SIGHUP)

    def pause(self) -> None:
        """Freeze it."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Thaw it."""
        os.kill(self.pid, signal.SIGCONT)

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        token: str | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = CALL_TIMEOUT,
    ) -> Answer:
        """One request to the public port. Raises OSError."""
        if self.tls is None:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        else:
            trusted = ssl.create_default_context(cafile=str(self.tls[0]))
            connection = http.client.HTTPSConnection(
                "127.0.0.1", self.port, timeout=timeout, context=trusted
            )
        shown = {} if token is None else {"Authorization": f"Bearer {token}"}
        return _exchange(connection, method, path, body, {**shown, **(headers or {})})

    def spec(self, compute_id: str, *, token: str | None = None, **headers: str) -> Answer:
        """Ask for a document as a compute does; underscores in names of headers are hyphens."""
        path = f"/compute/api/v2/computes/{quote(compute_id, safe='')}/spec"
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.call("GET", path, token=token or self.token, headers=named, timeout=70.0)

    def report(self, compute_id: str, body: Any, *, token: str | None = None) -> Answer:
        """Report as a compute does."""
        path = f"/compute/api/v2/computes/{quote(compute_id, safe='')}/report"
        return self.call("POST", path, body, token=token or self.token)

    def hook(self, name: str, body: Any) -> Answer:
        """Tell as the storage controller does: `notify-attach` or `notify-safekeepers`."""
        return self.call("PUT", f"/{name}", body, token=self.hook_token)

    def admin(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """One request to the admin socket. Raises OSError."""
        connection = UnixConnection(self.socket, CALL_TIMEOUT)
        return _exchange(connection, method, path, body, headers or {})

    def put(
        self, compute_id: str, document: Any, *, headers: Mapping[str, str] | None = None
    ) -> Any:
        """Put a compute's document; what the admin API answers."""
        answer = self.admin("PUT", f"/v1/computes/{compute_id}", document, headers=headers)
        assert answer.code == 200, answer.body
        return answer.body

    def wait(
        self, what: str, path: str, condition: Callable[[Any], Any], seconds: float = 10
    ) -> Any:
        """Wait until *condition* of what the admin API answers for *path* is true."""
        return wait_until(what, lambda: condition(self.admin("GET", path).body), seconds)

    def history(self, since: datetime) -> list[dict[str, Any]]:
        """What happened since a time, oldest first."""
        events: list[dict[str, Any]] = self.admin("GET", "/v1/history?limit=1000").body["events"]
        return sorted(
            (one for one in events if datetime.fromisoformat(one["at"]) >= since),
            key=lambda one: datetime.fromisoformat(one["at"]),
        )


def _exchange(
    connection: http.client.HTTPConnection,
    method: str,
    path: str,
    body: Any,
    headers: Mapping[str, str],
) -> Answer:
    content = {"Content-Type": "application/json"} if body is not None else {}
    raw = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    try:
        connection.request(method, path, raw, {**content, **headers})
        return Answer(connection.getresponse())
    finally:
        connection.close()


def _secret(path: Path, text: str) -> Path:
    path.touch(mode=0o600)
    path.write_text(text)
    return path
