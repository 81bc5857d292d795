"""The process: what stops its start, how it ends, and that it says so to systemd."""

import shutil
import signal
import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from devstack.compute_control_plane import ComputeControlPlane
from devstack.installation import free_port
from devstack.process import Child
from devstack.stack import operator_text
from devstack.wait import wait_until
from tests.control_plane.conftest import ControlPlaneFactory
from tests.support.certificates import certificate


def said(control_plane: ComputeControlPlane) -> tuple[int, list[str]]:
    """The exit status and the lines of a start that fails."""
    control_plane.spawn()
    assert control_plane.child is not None
    status = control_plane.child.wait(20)
    return status, control_plane.log_text().splitlines()


def test_port_in_use(make_control_plane: ControlPlaneFactory) -> None:
    """One line, a hint, and exit status 2."""
    made = make_control_plane()
    with socket.socket() as other:
        other.bind(("127.0.0.1", made.port))
        other.listen()
        status, lines = said(made)
    message = f"could not listen on 127.0.0.1:{made.port}: address already in use"
    assert (2, f"compute_control_plane: error: {message}") == (status, lines[-2])
    assert lines[-1].startswith("hint: ")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--compute-token-file", "/nowhere"], 'could not read token file "/nowhere"'),
        (["--store", "/proc/x/state.db"], 'could not make the folder "/proc/x"'),
        (["--store", "/proc/version"], '"/proc/version'),
        (["--evidence", "act"], "--evidence act needs --storage-controller"),
        (["--tls-cert", "/nowhere", "--tls-key", "/nowhere"], 'could not read "/nowhere"'),
        (["--storage-controller", "gopher://x"], "gopher"),
    ],
)
def test_cannot_start(
    make_control_plane: ControlPlaneFactory, flags: list[str], message: str
) -> None:
    """Each is one line with the reason, and exit status 2."""
    status, lines = said(make_control_plane(extra=flags))
    [error] = [line for line in lines if line.startswith("compute_control_plane: error: ")]
    assert (2, True) == (status, message in error), lines


def test_two_on_one_store(make_control_plane: ControlPlaneFactory) -> None:
    """The second is refused, the first goes on."""
    first = make_control_plane().start()
    second = make_control_plane(port=free_port())
    status, lines = said(second)
    assert (2, True) == (status, "is in use by another control plane" in lines[-2])
    assert 200 == first.call("GET", "/readyz").code


def test_stop_while_polls_are_held(make_control_plane: ControlPlaneFactory) -> None:
    """SIGTERM ends it; polls that are held are answered 503 at once, not after their minute."""
    made = make_control_plane().start()
    made.put("one", operator_text())
    known = made.spec("one").headers["ETag"]
    answers: list[Any] = []

    def poll() -> None:
        answers.append(made.spec("one", If_None_Match=known, Prefer="wait=60"))

    poller = threading.Thread(target=poll)
    poller.start()
    made.wait("a held poll", "/v1/status", lambda found: found["held_requests"])
    began = time.monotonic()
    assert 0 == made.stop()
    assert time.monotonic() - began < 10
    poller.join(30)
    assert [503] == [answer.code for answer in answers]


def test_systemd(make_control_plane: ControlPlaneFactory, tmp_path: Path) -> None:
    """It says when it is ready, that it is alive, and when it stops."""
    address = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notified:
        notified.bind(str(address))
        notified.settimeout(15)
        made = make_control_plane()
        environment = {"NOTIFY_SOCKET": str(address), "WATCHDOG_USEC": "400000"}
        made.child = Child(made.argv, stderr=made.log, ready=False, env=environment)
        assert b"READY=1" == notified.recv(100)
        assert 200 == made.call("GET", "/livez").code
        assert b"WATCHDOG=1" == notified.recv(100)
        assert 0 == made.stop()
        said_last = b""
        notified.setblocking(False)
        while b"STOPPING" not in said_last:
            said_last = notified.recv(100)


def test_tls(make_control_plane: ControlPlaneFactory, tmp_path: Path) -> None:
    """With a certificate only TLS is spoken; a renewed one is taken on SIGHUP."""
    folder = tmp_path / "tls"
    folder.mkdir()
    cert, key = certificate(folder)
    made = make_control_plane(tls=(cert, key)).start()
    made.put("one", operator_text())
    assert 200 == made.spec("one").code
    renewed = tmp_path / "renewed"
    renewed.mkdir()
    for old, new in zip((cert, key), certificate(renewed), strict=True):
        shutil.copy(new, old)
    made.reload()
    wait_until("the new certificate", lambda: _trusts(made))
    assert "certificate loaded again" in made.log_text()


def _trusts(made: ComputeControlPlane) -> bool:
    try:
        return made.spec("one").code == 200
    except OSError:
        return False


def test_stop_while_starting(make_control_plane: ControlPlaneFactory) -> None:
    """SIGTERM ends it with status 0 from the moment that it is caught, long before it is ready."""
    made = make_control_plane()
    made.spawn()
    wait_until("SIGTERM to be caught", lambda: _catches(made.pid, signal.SIGTERM), 30)
    assert made.child is not None
    assert 0 == made.child.stop(timeout=30), made.log_text()


def _catches(pid: int, number: signal.Signals) -> bool:
    status = Path(f"/proc/{pid}/status").read_text()
    caught = next(line for line in status.splitlines() if line.startswith("SigCgt:"))
    return bool(int(caught.split()[1], 16) >> (number - 1) & 1)


def test_few_open_files(make_control_plane: ControlPlaneFactory) -> None:
    """It holds as many polls as the limit of open files allows, and says so in one line."""
    made = make_control_plane()
    made.argv = ["prlimit", "--nofile=3000", *made.argv]
    made.start()
    assert "up to 1600 polls are held: the limit of open files is 3000" in made.log_text()
    assert "are wanted" not in made.log_text()
