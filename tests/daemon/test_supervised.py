"""The server as a process of ours: made, started, adopted, stopped."""

import asyncio
import os
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from compute_ctl.errors import PostgresError
from compute_ctl.postgres import Attached, Supervised, data_dir_inode, system_identifier
from devstack.installation import binary, free_port, make_folder, os_user
from devstack.postgres import Template
from tests.daemon.watching import Watch


def _environment(pid: int | None) -> list[bytes]:
    return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")


class Home:
    """A place where a Supervised of this test runs."""

    def __init__(self) -> None:
        self.folder = make_folder("sup-")
        self.data = self.folder / "data"
        self.data.mkdir(mode=0o700)
        user = os_user()
        if user is not None:
            subprocess.run(["chown", user, str(self.data)], check=True, timeout=5)
        self.bin = self.folder / "bin"
        self.changed = asyncio.Event()
        self.bin.mkdir()
        for name in ("postgres", "initdb"):
            self._program(name, user)
        self.records: list[str] = []
        self.made: list[Supervised] = []

    def _program(self, name: str, user: str | None) -> None:
        """Make a program that becomes the server's user first, where we are root."""
        become = f"setpriv --reuid={user} --regid={user} --clear-groups" if user else ""
        script = self.bin / name
        script.write_text(f'#!/bin/sh\nexec {become} {binary(name)} "$@"\n')
        script.chmod(0o755)

    def supervised(self) -> Supervised:
        """Return one more daemon's view of the server."""
        made = Supervised(
            self.data,
            pgbin=str(self.bin / "postgres"),
            superuser="boss",
            log_pipe=self.folder / "log",
            on_record=self._record,
        )
        self.made.append(made)
        return made

    def _record(self, record: str) -> None:
        self.records.append(record)
        self.changed.set()

    async def logged(self, text: str, start: int = 0) -> None:
        """Wait until a record from number *start* on has *text*."""
        async with asyncio.timeout(5):
            while not any(text in record for record in self.records[start:]):
                self.changed.clear()
                await self.changed.wait()

    def remove(self) -> None:
        """Let go of the server, reap it and delete the folder."""
        for supervised in self.made:
            supervised.close()
            if supervised._child is not None:
                supervised._child.wait(5)
        shutil.rmtree(self.folder)

    def configure(self, text: str = "") -> None:
        """Write a small configuration."""
        (self.data / "postgresql.conf").write_text(
            f"port = {free_port()}\nlisten_addresses = '127.0.0.1'\n"
            f"unix_socket_directories = ''\nfsync = off\nlog_line_prefix = '%m '\n{text}\n"
        )


@pytest.fixture
async def home(template: Template) -> AsyncIterator[Home]:
    """A home with an empty data directory; its server is ended after the test."""
    made = Home()
    yield made
    await Attached(made.data).stop(immediate=True)
    made.remove()


def clone(template: Template, home: Home) -> None:
    """Fill the data directory without running initdb again."""
    home.data.rmdir()
    subprocess.run(["cp", "-a", str(template.data), str(home.data)], check=True, timeout=10)
    home.configure()


async def test_empty_directory_becomes_a_running_server(home: Home, watch: Watch) -> None:
    """initdb, start, ready, log, stop: exit status 0, and nothing of ours in its environment."""
    supervised = home.supervised()
    watch.start(supervised)
    await supervised.make_cluster(home.data)
    assert int(system_identifier(home.data)) > 2**60
    found = home.data.stat()
    assert data_dir_inode(home.data) == f"{found.st_dev}:{found.st_ino}"
    home.configure()
    os.environ["NOTIFY_SOCKET"] = "/nowhere"
    try:
        assert supervised.start({"NEON_AUTH_TOKEN": "t"}) is False
    finally:
        del os.environ["NOTIFY_SOCKET"]
    assert "ready" == await watch.next()
    environment = _environment(supervised.pid)
    assert b"NEON_AUTH_TOKEN=t" in environment
    assert not [entry for entry in environment if entry.startswith(b"NOTIFY_SOCKET")]
    await supervised.stop()
    assert ["lost", "exit 0"] == [await watch.next(), await watch.next()]
    assert any("ready to accept connections" in record for record in home.records)


async def test_exit_status_of_a_failed_start(home: Home, template: Template, watch: Watch) -> None:
    """A server that cannot start ends with its own status, and says why in the log."""
    clone(template, home)
    home.configure("shared_preload_libraries = 'no_such_library'")
    supervised = home.supervised()
    watch.start(supervised)
    supervised.start()
    assert "exit 1" == await watch.next()
    supervised.close()
    assert any("no_such_library" in record for record in home.records)


async def test_exit_status_of_a_killed_server(home: Home, template: Template, watch: Watch) -> None:
    """Death by a signal is told as shells tell it."""
    clone(template, home)
    supervised = home.supervised()
    watch.start(supervised)
    supervised.start()
    assert "ready" == await watch.next()
    pid = supervised.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    assert ["lost", "exit 137"] == [await watch.next(), await watch.next()]


@pytest.mark.parametrize(("in_good_order", "status"), [(True, 0), (False, 1)])
async def test_next_daemon_adopts_the_server(
    home: Home, template: Template, watch: Watch, in_good_order: bool, status: int
) -> None:
    """A running server is taken over with its log; its end is read off the cluster itself."""
    clone(template, home)
    first_watch = Watch()
    first = home.supervised()
    first_watch.start(first)
    first.start()
    assert "ready" == await first_watch.next()
    assert first_watch.task is not None
    first_watch.task.cancel()
    first.close()
    pid = Attached(home.data).pid
    second = home.supervised()
    watch.start(second)
    position = len(home.records)
    assert second.start() is True
    assert "ready" == await watch.next()
    assert second.pid == pid
    assert second.reload() is True
    await home.logged("received SIGHUP", position)
    await second.stop(immediate=not in_good_order)
    assert [await watch.next(), await watch.next()] == ["lost", f"exit {status}"]


async def test_a_reload_does_not_end_a_server_that_begins(
    home: Home, template: Template, watch: Watch
) -> None:
    """SIGHUP ends a process that has no handler yet; later it is sent again."""
    clone(template, home)
    supervised = home.supervised()
    watch.start(supervised)
    supervised.start()
    assert supervised.reload() is True
    assert "ready" == await watch.next()
    assert supervised.reload() is True
    await home.logged("received SIGHUP", 0)
    await supervised.stop(immediate=True)


async def test_server_is_stopped_while_it_starts(
    home: Home, template: Template, watch: Watch
) -> None:
    """A stop right after the start finds the process, though postmaster.pid is not there yet."""
    clone(template, home)
    supervised = home.supervised()
    watch.start(supervised)
    supervised.start()
    await supervised.stop(immediate=True)
    assert supervised.running is False
    while not (event := await watch.next()).startswith("exit "):
        assert event in ("ready", "lost")  # it was up before the stop came


async def test_missing_binary_is_told(home: Home) -> None:
    """A server binary that is not there is named, with a hint."""
    (home.bin / "postgres").unlink()
    supervised = home.supervised()
    with pytest.raises(PostgresError, match="could not find the server binary") as caught:
        supervised.start()
    assert caught.value.hint is not None
    assert supervised.running is False
