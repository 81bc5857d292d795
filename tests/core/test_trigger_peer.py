"""A secret body goes to a process of our own user or of root, and to nobody else."""

import socket
from pathlib import Path

import pytest

from pg_hook import HookError, Trigger, parse_endpoint
from tests.core.daemon import Daemon, always, answer, once, running, silent
from tests.support.stranger import stranger

TAKEN = answer(b"{}")
SECRET = b'{"marker": "7.abc.def"}'


@pytest.mark.parametrize("unix", [False, True])
def test_our_own_process_gets_it(unix: bool, tmp_path: Path) -> None:
    """Head and body arrive as ever, over one connection."""
    with (
        running(always(TAKEN), path=tmp_path / "s" if unix else None) as daemon,
        Trigger(parse_endpoint(daemon.endpoint)) as trigger,
    ):
        for _ in range(3):
            assert 200 == trigger.post("/configuration_ack", SECRET, secret=True).status
            assert 200 == trigger.post("/refresh_configuration", b"{}").status
    assert daemon.requests[0].endswith(b"\r\n\r\n" + SECRET)
    assert b"Content-Length: %d\r\n" % len(SECRET) in daemon.requests[0]
    assert (6, 1) == (len(daemon.requests), daemon.connections)


@pytest.mark.parametrize("unix", [False, True])
def test_a_stranger_does_not_get_it(unix: bool) -> None:
    """Not on a connection that an open request has opened either; the error names the user."""
    with stranger(unix=unix) as other, Trigger(parse_endpoint(other.endpoint)) as trigger:
        assert 200 == trigger.post("/refresh_configuration", b"{}").status
        for _ in range(2):
            with pytest.raises(HookError, match="user id 61234 listens") as caught:
                trigger.post("/configuration_ack", SECRET, secret=True)
            assert "PEER" == caught.value.name
        assert 200 == trigger.post("/refresh_configuration", b"{}").status
        other.wait_heard(b"POST /refresh_configuration")
        assert b"7.abc.def" not in other.heard


def test_a_stranger_at_another_address_does_not_matter() -> None:
    """Who listens at the same port of another address takes no connection of ours."""
    with running(always(TAKEN)) as daemon:
        port = int(daemon.endpoint.rpartition(":")[2])
        with (
            stranger(host="127.0.0.2", port=port),
            Trigger(parse_endpoint(daemon.endpoint)) as trigger,
        ):
            assert 200 == trigger.post("/configuration_ack", SECRET, secret=True).status


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "::ffff:127.0.0.1"])
def test_listeners_of_other_addresses_are_found(address: str) -> None:
    """A daemon that listens on all addresses, or on IPv6 for both, is known as well."""
    family = socket.AF_INET if address == "0.0.0.0" else socket.AF_INET6
    with socket.socket(family) as listener:
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.bind((address, 0))
        listener.listen()
        port = listener.getsockname()[1]
        with Trigger(parse_endpoint(f"http://127.0.0.1:{port}")) as trigger:
            trigger.start("/configuration_ack", SECRET, secret=True)
            trigger.step()
            client, _ = listener.accept()
            with client:
                got = b""
                while SECRET not in got:
                    trigger.step()
                    got += client.recv(65536)


def test_ipv6_loopback() -> None:
    """The same over [::1]."""
    with socket.socket(socket.AF_INET6) as listener:
        listener.bind(("::1", 0))
        listener.listen()
        with Trigger(parse_endpoint(f"http://[::1]:{listener.getsockname()[1]}")) as trigger:
            trigger.start("/configuration_ack", SECRET, secret=True)
            trigger.step()
            client, _ = listener.accept()
            with client:
                got = b""
                while SECRET not in got:
                    trigger.step()
                    got += client.recv(65536)


@pytest.mark.parametrize("unix", [False, True])
def test_a_kept_connection_that_was_closed(unix: bool, tmp_path: Path) -> None:
    """A restart of the daemon between two secrets costs nothing but a new connection."""
    with (
        running(once(TAKEN), path=tmp_path / "s" if unix else None) as daemon,
        Trigger(parse_endpoint(daemon.endpoint)) as trigger,
    ):
        statuses = [trigger.post("/x", SECRET, secret=True).status for _ in range(3)]
    assert ([200, 200, 200], 3) == (statuses, daemon.connections)
    assert all(request.endswith(SECRET) for request in daemon.requests)


def test_nobody_listens(tmp_path: Path) -> None:
    """A dead daemon is a dead daemon, not a stranger; a silent one costs the timeout."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    for endpoint in (f"http://127.0.0.1:{port}", f"unix:{tmp_path}/none"):
        with Trigger(parse_endpoint(endpoint)) as trigger, pytest.raises(HookError) as caught:
            trigger.post("/x", SECRET, secret=True)
        assert "CONNECT" == caught.value.name
    with running(silent) as hung, Trigger(parse_endpoint(hung.endpoint)) as trigger:
        with pytest.raises(HookError) as caught:
            trigger.post("/x", SECRET, secret=True, timeout_ms=150)
        assert "TIMEOUT" == caught.value.name


def test_another_endpoint_is_another_connection() -> None:
    """A connection that was trusted says nothing about the next endpoint."""
    with (
        running(always(TAKEN)) as daemon,
        stranger() as other,
        Trigger(parse_endpoint(daemon.endpoint)) as trigger,
    ):
        assert 200 == trigger.post("/x", SECRET, secret=True).status
        trigger.endpoint = parse_endpoint(other.endpoint)
        with pytest.raises(HookError, match="user id 61234 listens"):
            trigger.post("/x", SECRET, secret=True)
        trigger.endpoint = parse_endpoint(daemon.endpoint)
        assert 200 == trigger.post("/x", SECRET, secret=True).status
    assert SECRET not in other.heard
    assert_all_secret(daemon)


def assert_all_secret(daemon: Daemon) -> None:
    """Every request carried the body."""
    assert all(request.endswith(SECRET) for request in daemon.requests)


def test_an_unchecked_connection_is_not_used_for_a_secret() -> None:
    """A secret opens a connection of its own; the one before it is not kept beside it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with Trigger(parse_endpoint(f"http://127.0.0.1:{port}")) as trigger:
            unchecked = answered(trigger, listener, b"{}", secret=False)
            checked = answered(trigger, listener, SECRET, secret=True)
            with unchecked, checked:
                trigger.start("/x", SECRET, secret=True)
                received(trigger, checked, SECRET)
                unchecked.settimeout(5)
                assert b"" == unchecked.recv(65536)


def received(trigger: Trigger, connection: socket.socket, body: bytes) -> None:
    """Wait until a connection has brought *body*."""
    connection.settimeout(5)
    got = b""
    while not got.endswith(b"\r\n\r\n" + body):
        trigger.step()
        got += connection.recv(65536)


def answered(
    trigger: Trigger, listener: socket.socket, body: bytes, *, secret: bool
) -> socket.socket:
    """Send a request that opens a connection; answer it and return the connection."""
    trigger.start("/x", body, secret=secret)
    trigger.step()
    listener.settimeout(5)
    connection, _ = listener.accept()
    received(trigger, connection, body)
    connection.sendall(TAKEN)
    while not trigger.step():
        pass
    return connection
