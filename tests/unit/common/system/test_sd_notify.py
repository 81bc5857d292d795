"""Notifications to systemd, received by a real socket."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from compute_common.system.sd_notify import READY, Notifier


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[socket.socket]:
    """The socket on which systemd would listen."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(tmp_path / "notify"))
        receiver.settimeout(5)
        yield receiver


def test_messages_arrive(systemd: socket.socket) -> None:
    """Each call is one datagram of lines; a status stays on one line."""
    notifier = Notifier(systemd.getsockname())
    assert notifier.send(READY, "MAINPID=7") is True
    assert b"READY=1\nMAINPID=7" == systemd.recv(100)
    notifier.status("two\nlines")
    assert b"STATUS=two lines" == systemd.recv(100)
    notifier.reloading()
    first, second = systemd.recv(100).split(b"\n")
    assert b"RELOADING=1" == first
    assert second.removeprefix(b"MONOTONIC_USEC=").isdigit()


def test_abstract_socket() -> None:
    """An address that begins with @ is in the abstract name space."""
    name = f"compute-ctl-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind("\0" + name)
        receiver.settimeout(5)
        assert Notifier("@" + name).send(READY) is True
        assert b"READY=1" == receiver.recv(100)


def test_nobody_listens(tmp_path: Path) -> None:
    """Without systemd, or with one that is gone, nothing is sent and nothing fails."""
    assert Notifier().send(READY) is False
    assert Notifier(str(tmp_path / "absent")).send(READY) is False


@pytest.mark.parametrize(
    ("pid", "expected"),
    [
        pytest.param("", 30.0, id="anybody's"),
        pytest.param(str(os.getpid()), 30.0, id="ours"),
        pytest.param("1", None, id="another's"),
    ],
)
def test_environment_is_taken(
    monkeypatch: pytest.MonkeyPatch, pid: str, expected: float | None
) -> None:
    """The variables are used where meant for us, and no child sees them."""
    monkeypatch.setenv("NOTIFY_SOCKET", "/x")
    monkeypatch.setenv("WATCHDOG_USEC", "30000000")
    monkeypatch.setenv("WATCHDOG_PID", pid)
    assert Notifier.from_environment().watchdog_s == expected
    assert not {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"} & set(os.environ)
