"""Where the listeners listen: ports, socket, and what stands in the way."""

import asyncio
import os
import socket
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from compute_common.errors import SettingsError
from tests.daemon.api import Served, Wire, serve


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    """A node behind its listeners."""
    async with serve(tmp_path) as one:
        yield one


async def test_socket_is_private(served: Served) -> None:
    """Only the owner may connect."""
    found = served.http.socket_path.lstat()
    assert (0o600, os.geteuid()) == (stat.S_IMODE(found.st_mode), found.st_uid)


async def test_ipv6_loopback(served: Served) -> None:
    """Neon posts to `localhost`, which may be ::1."""
    with socket.socket(socket.AF_INET6) as probe:
        try:
            probe.bind(("::1", 0))
        except OSError:
            pytest.skip("this machine has no ::1")
    async with Wire.tcp(served.port, "::1") as wire:
        assert 200 == (await wire.ask("GET", "/livez")).code


async def test_only_loopback_is_bound(served: Served) -> None:
    """Nobody else on the network reaches the port."""
    with socket.socket() as probe:
        probe.settimeout(2)
        assert probe.connect_ex(("127.0.0.2", served.port)) != 0


async def test_port_in_use(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The socket is served at once; the port, as soon as it is free, is told once until then."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        async with serve(tmp_path, internal_http_port=port) as served:
            reason = f"could not listen on 127.0.0.1:{port}: address already in use"
            opening = asyncio.create_task(served.http.run())

            assert [reason] == (await served.socket("GET", "/status")).json["closed_ports"]
            assert b"compute_ctl_http_closed_ports 1.0" in served.exposition()
            other.close()
            await asyncio.wait_for(opening, 10)
            assert 200 == (await served.loopback("GET", "/livez")).code
            assert [] == (await served.socket("GET", "/status")).json["closed_ports"]
            assert 1 == sum(reason in record.getMessage() for record in caplog.records)


async def test_one_address_in_use(tmp_path: Path) -> None:
    """Whoever takes the port of ::1 keeps nobody from that of 127.0.0.1."""
    with socket.socket(socket.AF_INET6) as other:
        try:
            other.bind(("::1", 0))
        except OSError:
            pytest.skip("this machine has no ::1")
        other.listen()
        port = other.getsockname()[1]
        async with serve(tmp_path, internal_http_port=port) as served:
            reason = f"could not listen on [::1]:{port}: address already in use"
            assert [reason] == (await served.loopback("GET", "/status")).json["closed_ports"]
            opening = asyncio.create_task(served.http.run())
            other.close()
            await asyncio.wait_for(opening, 10)
            async with Wire.tcp(port, "::1") as wire:
                assert 200 == (await wire.ask("GET", "/livez")).code


async def test_socket_left_behind_is_replaced(tmp_path: Path) -> None:
    """A daemon killed without warning does not keep the next one from starting."""
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "ctl.sock"))
    async with serve(tmp_path) as served:
        assert 200 == (await served.socket("GET", "/livez")).code
    assert not (tmp_path / "ctl.sock").exists()


async def test_socket_in_use(served: Served) -> None:
    """A second daemon on the same folder does not steal the socket."""
    with pytest.raises(SettingsError, match="another compute_ctl listens on"):
        async with serve(served.http.socket_path.parent):
            pass
    assert 200 == (await served.socket("GET", "/livez")).code


async def test_something_else_in_the_way(tmp_path: Path) -> None:
    """What is no socket is not removed."""
    (tmp_path / "ctl.sock").write_text("mine")
    with pytest.raises(SettingsError, match="is in the way of the unix socket"):
        async with serve(tmp_path):
            pass
    assert "mine" == (tmp_path / "ctl.sock").read_text()


async def test_long_path(tmp_path: Path) -> None:
    """A state folder deeper than a socket's path may be still gets its socket."""
    folder = tmp_path / ("d" * 120)
    folder.mkdir()
    async with serve(folder) as served:
        descriptor = os.open(folder, os.O_PATH)
        try:
            async with Wire.unix(Path(f"/proc/self/fd/{descriptor}/ctl.sock")) as wire:
                assert 200 == (await wire.ask("GET", "/livez")).code
        finally:
            os.close(descriptor)
        assert served.http.socket_path.is_socket()
    assert not (folder / "ctl.sock").exists()


async def test_unknown_group(tmp_path: Path) -> None:
    """A group that does not exist is a mistake on the command line."""
    with pytest.raises(SettingsError, match='there is no group "nosuchgroup"'):
        async with serve(tmp_path, socket_group="nosuchgroup"):
            pass
