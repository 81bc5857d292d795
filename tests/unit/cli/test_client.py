"""How the commands reach the daemon."""

from __future__ import annotations

import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from compute_common.cli.exit_codes import CommandError
from compute_ctl.__main__ import main
from compute_ctl.cli.client import Target, ask


def test_a_daemon_that_hangs_is_told_from_none(tmp_path: Path) -> None:
    """Where something listens and says nothing, the hint is how to end it."""
    path = tmp_path / "ctl.sock"
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(path))
        silent.listen()
        with pytest.raises(CommandError) as error:
            ask(Target(socket=path), "GET", "/status", timeout_s=0.2)
    assert str(error.value) == f'compute_ctl at "{path}" does not answer'
    assert (3, True) == (error.value.exit_code, "kill -9" in (error.value.hint or ""))


def run_against(command: str, code: int, body: str) -> tuple[int, str]:
    """Run *command* against a server with one answer; return its exit status and the address."""

    class Other(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(code)
            self.end_headers()
            self.wfile.write(body.encode())

        do_POST = do_GET  # noqa: N815 (http.server's name)

    with ThreadingHTTPServer(("127.0.0.1", 0), Other) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            status = main([command, "--port", str(server.server_port)])
        finally:
            server.shutdown()
            thread.join()
    return status, f"http://127.0.0.1:{server.server_port}"


@pytest.mark.parametrize(
    ("code", "body"),
    [
        (200, '{"status": "ok"}'),
        (200, '["status", "config"]'),
        (200, "null"),
        (404, '{"detail": "Not Found"}'),
    ],
)
@pytest.mark.parametrize("command", ["status", "refresh"])
def test_another_program_is_no_compute_ctl(
    capsys: pytest.CaptureFixture[str], command: str, code: int, body: str
) -> None:
    """JSON that a daemon would not answer comes from something else at that port."""

    status, address = run_against(command, code, body)
    error = capsys.readouterr().err.splitlines()
    expected = f"compute_ctl: error: {address} is not compute_ctl: its answer is not one of its own"
    assert (3, True) == (status, expected in error)


def test_a_daemon_of_another_version(capsys: pytest.CaptureFixture[str]) -> None:
    """What it says cannot be shown as a table; its JSON can."""
    body = '{"status": "running", "config": {}, "refresh": {}, "postgres": {}}'
    status, address = run_against("status", 200, body)

    assert 1 == status
    assert f"cannot show what the daemon at {address} says" in capsys.readouterr().err
