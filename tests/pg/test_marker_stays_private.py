"""The marker is told to the daemon, never to whoever took its place."""

from devstack.wait import wait_until
from tests.pg.conftest import MakeNeon
from tests.support.daemon_stub import ACK, REFRESH, DaemonStub
from tests.support.stranger import stranger

MARKER = {"neon_refresh.config_generation": "7.abc.def"}
REFUSED = "could not send {} to the daemon: the listener is no process of this user or of root"
ACK_RESULT = "SELECT last_ack_result FROM neon_refresh.stat"


def test_a_stranger_at_the_port_is_asked_but_told_nothing(
    make_neon: MakeNeon, daemon: DaemonStub
) -> None:
    """It may be asked to look again; the acknowledgement waits for the daemon, with one line."""
    server = make_neon(MARKER, start=False)
    with stranger() as other:
        server.configure({"neon_refresh.endpoint": other.endpoint})
        server.start()
        server.wait_log(REFUSED.format("the acknowledgement"))
        assert server.value("SELECT neon_refresh.request('now')") is True
        other.wait_heard(b'"source": "manual"')
        server.reload()
        server.wait_log("At the daemon's address, user id 61234 listens.")
        expected = "the listener is no process of this user or of root"
        wait_until("the reason", lambda: server.value(ACK_RESULT) == expected)

        server.configure({"neon_refresh.endpoint": daemon.endpoint})
        server.reload()
        assert "7.abc.def" == daemon.wait_for(ACK)[0].body["marker"]
        assert b"7.abc.def" not in other.heard
    assert 1 == server.log_contains(REFUSED.format("the acknowledgement"))
    wait_until("HTTP 200", lambda: server.value(ACK_RESULT) == "HTTP 200")


def test_a_stranger_at_the_socket_is_told_nothing_at_all(make_neon: MakeNeon) -> None:
    """At a socket only the daemon may listen: requests carry the marker and are refused too."""
    server = make_neon(MARKER, start=False)
    with stranger(unix=True) as other:
        server.configure({"neon_refresh.endpoint": other.endpoint})
        server.start()
        server.value("SELECT neon_refresh.request('now')")
        server.wait_log(REFUSED.format("the refresh request"))
        server.wait_log(REFUSED.format("the acknowledgement"))
        assert b"abc" not in other.heard
        assert b"manual" not in other.heard


def test_over_the_socket_a_request_carries_the_marker(make_neon: MakeNeon) -> None:
    """A loopback port is not private; a socket of the right user is."""
    server = make_neon(MARKER, start=False)
    with DaemonStub(server.folder / "ctl.sock") as private, DaemonStub() as public:
        server.configure({"neon_refresh.endpoint": private.endpoint})
        server.start()
        assert "7.abc.def" == private.wait_for(ACK)[0].body["marker"]
        server.value("SELECT neon_refresh.request('now')")
        assert "7.abc.def" == private.wait_for(REFRESH)[0].body["running"]

        server.configure({"neon_refresh.endpoint": public.endpoint})
        server.reload()
        public.wait_for(ACK)
        server.value("SELECT neon_refresh.request('now')")
        assert "running" not in public.wait_for(REFRESH)[0].body
