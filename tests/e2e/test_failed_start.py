"""A server that the daemon cannot start: what people are told, and how it goes on."""

import re
import socket
from collections.abc import Iterator

import pytest

from compute_ctl.__main__ import main
from tests.e2e.test_supervise import Supervised


@pytest.fixture
def supervised() -> Iterator[Supervised]:
    """A daemon that is about to be started; ended and removed after the test."""
    made = Supervised()
    yield made
    if made.daemon.child is not None and made.daemon.child.poll() is None:
        made.daemon.stop()


def test_port_in_use(supervised: Supervised, capsys: pytest.CaptureFixture[str]) -> None:
    """The server's own words are in status and log; once the port is free a refresh starts it."""
    daemon = supervised.daemon
    with socket.create_server(("127.0.0.1", supervised.port)):
        supervised.publish(listen_addresses="127.0.0.1")
        daemon.start()
        error = daemon.wait_status(
            "the failure", lambda found: found["status"] == "failed" and found["error"]
        )
        assert "postgres did not start: could not create any TCP/IP sockets" in error
        assert "Address already in use" in error
        assert re.search(r" ERROR postgres did not start: .*TCP/IP sockets", daemon.log_text())
        capsys.readouterr()
        assert 1 == main(["status", "-D", str(supervised.data)])
        assert '"ss -tlnp" names it' in " ".join(capsys.readouterr().out.split())

    assert 0 == main(["refresh", "-D", str(supervised.data)])

    daemon.wait_status("running", lambda found: found["status"] == "running")
    daemon.wait_status("in sync", lambda found: found["config"]["in_sync"])
    assert "127.0.0.1" == supervised.show("listen_addresses")
