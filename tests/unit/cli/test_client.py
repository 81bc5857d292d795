"""How the commands reach the daemon."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from compute_ctl.cli.client import ClientError, Target, ask


def test_a_daemon_that_hangs_is_told_from_none(tmp_path: Path) -> None:
    """Where something listens and says nothing, the hint is how to end it."""
    path = tmp_path / "ctl.sock"
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(path))
        silent.listen()
        with pytest.raises(ClientError) as error:
            ask(Target(socket=path), "GET", "/status", timeout_s=0.2)
    assert str(error.value) == f'compute_ctl at "{path}" does not answer'
    assert (error.value.exit_code, "kill -9" in (error.value.hint or "")) == (3, True)
