"""The server as a process: found, watched, started, adopted, stopped."""

import asyncio
import os
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from compute_ctl.errors import PostgresError
from compute_ctl.postgres import (
    Attached,
    Events,
    Supervised,
    data_dir_inode,
    system_identifier,
)
from devstack.installation import binary, free_port, make_folder, os_user
from devstack.postgres import Template
from devstack.wait import wait_until
from tests.support.fixtures import PostgresFactory


class Watch:
    """What a watch has told, in order."""

    def __init__(self) -> None:
        self.told: asyncio.Queue[str] = asyncio.Queue()
        self.events = Events(
            on_ready=lambda: self.told.put_nowait("ready"),
            on_lost=lambda: self.told.put_nowait("lost"),
            on_exit=lambda status: self.told.put_nowait(f"exit {status}"),
        )
        self.task: asyncio.Task[None] | None = None

    def start(self, server: Attached | Supervised) -> None:
        """Begin to watch."""
        self.task = asyncio.create_task(server.watch(self.events))

    async def next(self, within_s: float = 10) -> str:
        """Return what is told next."""
        async with asyncio.timeout(within_s):
            return await self.told.get()


@pytest.fixture
async def watch() -> AsyncIterator[Watch]:
    """A watch, ended after the test."""
    made = Watch()
    yield made
    if made.task is not None:
        made.task.cancel()
        with suppress(asyncio.CancelledError):
            await made.task


async def test_attached_sees_every_incarnation(
    make_postgres: PostgresFactory, watch: Watch
) -> None:
    """Start, death and next start are told as they happen, and the pid is the current one."""
    server = make_postgres(start=False)
    attached = Attached(server.data)
    watch.start(attached)
    assert (attached.running, attached.ready, attached.pid) == (False, False, None)
    await asyncio.to_thread(server.start)
    assert await watch.next() == "ready"
    assert (attached.running, attached.ready, attached.pid) == (True, True, server.pid)
    os.kill(server.pid, signal.SIGKILL)
    assert [await watch.next(2), await watch.next()] == ["lost", "exit None"]
    assert (attached.running, attached.ready, attached.pid) == (False, False, None)
    await asyncio.to_thread(server.stop)
    wait_until("the orphans to end", lambda: not list(_processes_in(server.data)))
    await asyncio.to_thread(server.start)
    assert await watch.next() == "ready"
    assert attached.pid == server.pid


def _environment(pid: int | None) -> list[bytes]:
    return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")


def _processes_in(folder: Path) -> Iterator[int]:
    for path in Path("/proc").iterdir():
        with suppress(OSError):
            if path.name.isdigit() and (path / "cwd").samefile(folder):
                yield int(path.name)


async def test_reload_reaches_the_postmaster(make_postgres: PostgresFactory) -> None:
    """A reload is one SIGHUP to the running server; without one it is told apart."""
    server = make_postgres()
    attached = Attached(server.data)
    position = server.log_position()
    assert attached.reload() is True
    server.wait_log("received SIGHUP", start=position)
    server.stop()
    assert attached.reload() is False


async def test_recycled_pid_is_never_signalled(make_postgres: PostgresFactory) -> None:
    """A process that has the pid of a dead postmaster is not mistaken for it."""
    server = make_postgres(start=False)
    pid_file = server.data / "postmaster.pid"
    attached = Attached(server.data)
    stranger = await asyncio.create_subprocess_exec("sleep", "60", cwd=server.data)
    try:
        pid_file.write_text(f"{stranger.pid}\n{server.data}\n1\n1\n\n\n\nready\n")
        assert (attached.running, attached.ready, attached.reload()) == (False, False, False)
        await attached.stop()
        assert stranger.returncode is None
    finally:
        stranger.kill()
    assert await stranger.wait() == -signal.SIGKILL


async def test_postmaster_of_another_cluster_is_a_stranger(make_postgres: PostgresFactory) -> None:
    """A recycled pid may belong to a postmaster too: that of another data directory."""
    dead, other = make_postgres(start=False), make_postgres()
    noted = (other.data / "postmaster.pid").read_text()
    (dead.data / "postmaster.pid").write_text(noted)
    attached = Attached(dead.data)
    assert (attached.running, attached.pid, attached.reload()) == (False, None, False)


async def test_orphan_is_not_the_postmaster(make_postgres: PostgresFactory) -> None:
    """A child of the server, named by a stale file, is not signalled: its title gives it away."""
    server = make_postgres()
    child = server.value("SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'")
    lines = (server.data / "postmaster.pid").read_text().splitlines()
    lines[0], lines[2] = str(child), "1000000000"
    (server.data / "postmaster.pid").write_text("\n".join(lines) + "\n")
    attached = Attached(server.data)
    assert (attached.running, attached.pid) == (False, None)


async def test_moved_clock_does_not_hide_the_server(make_postgres: PostgresFactory) -> None:
    """A start time that no longer fits (the clock was set) leaves the postmaster verified."""
    server = make_postgres()
    lines = (server.data / "postmaster.pid").read_text().splitlines()
    lines[2] = "1000000000"
    (server.data / "postmaster.pid").write_text("\n".join(lines) + "\n")
    assert Attached(server.data).pid == server.pid


async def test_attached_server_is_stopped(make_postgres: PostgresFactory, watch: Watch) -> None:
    """A fast stop ends sessions and shuts down in good order."""
    server = make_postgres()
    attached = Attached(server.data)
    watch.start(attached)
    assert await watch.next() == "ready"
    session = server.connect()
    await attached.stop()
    assert server.process is not None
    assert server.process.wait(5) == 0
    assert [await watch.next(), await watch.next()] == ["lost", "exit None"]
    session.close()


async def test_stubborn_server_is_stopped_harder(make_postgres: PostgresFactory) -> None:
    """A server that does not answer a fast stop in time is ended all the same."""
    server = make_postgres()
    os.kill(server.pid, signal.SIGSTOP)
    assert server.process is not None
    # A halted process takes neither SIGINT nor SIGQUIT: only SIGKILL ends it.
    await Attached(server.data).stop(deadline_s=0.1, kill_after_s=0.1)
    assert server.process.wait(5) == -signal.SIGKILL


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
    assert await supervised.make_if_empty() is True
    assert await supervised.make_if_empty() is False
    assert int(system_identifier(home.data)) > 2**60
    found = home.data.stat()
    assert data_dir_inode(home.data) == f"{found.st_dev}:{found.st_ino}"
    home.configure()
    os.environ["NOTIFY_SOCKET"] = "/nowhere"
    try:
        assert supervised.start({"NEON_AUTH_TOKEN": "t"}) is False
    finally:
        del os.environ["NOTIFY_SOCKET"]
    assert await watch.next() == "ready"
    environment = _environment(supervised.pid)
    assert b"NEON_AUTH_TOKEN=t" in environment
    assert not [entry for entry in environment if entry.startswith(b"NOTIFY_SOCKET")]
    await supervised.stop()
    assert [await watch.next(), await watch.next()] == ["lost", "exit 0"]
    assert any("ready to accept connections" in record for record in home.records)


async def test_exit_status_of_a_failed_start(home: Home, template: Template, watch: Watch) -> None:
    """A server that cannot start ends with its own status, and says why in the log."""
    clone(template, home)
    home.configure("shared_preload_libraries = 'no_such_library'")
    supervised = home.supervised()
    watch.start(supervised)
    supervised.start()
    assert await watch.next() == "exit 1"
    supervised.close()
    assert any("no_such_library" in record for record in home.records)


async def test_exit_status_of_a_killed_server(home: Home, template: Template, watch: Watch) -> None:
    """Death by a signal is told as shells tell it."""
    clone(template, home)
    supervised = home.supervised()
    watch.start(supervised)
    supervised.start()
    assert await watch.next() == "ready"
    pid = supervised.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    assert [await watch.next(), await watch.next()] == ["lost", "exit 137"]


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
    assert await first_watch.next() == "ready"
    assert first_watch.task is not None
    first_watch.task.cancel()
    first.close()
    pid = Attached(home.data).pid
    second = home.supervised()
    watch.start(second)
    position = len(home.records)
    assert second.start() is True
    assert await watch.next() == "ready"
    assert second.pid == pid
    assert second.reload() is True
    await home.logged("received SIGHUP", position)
    await second.stop(immediate=not in_good_order)
    assert [await watch.next(), await watch.next()] == ["lost", f"exit {status}"]


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
    assert (await watch.next()).startswith("exit ")


async def test_foreign_directory_is_refused(home: Home) -> None:
    """A directory with something else in it is not touched."""
    (home.data / "letters.txt").write_text("dear")
    with pytest.raises(PostgresError, match="is not empty, but holds no cluster"):
        await home.supervised().make_if_empty()
    assert (home.data / "letters.txt").read_text() == "dear"


async def test_missing_binary_is_told(home: Home) -> None:
    """A server binary that is not there is named, with a hint."""
    (home.bin / "postgres").unlink()
    supervised = home.supervised()
    with pytest.raises(PostgresError, match="could not find the server binary") as caught:
        supervised.start()
    assert caught.value.hint is not None
    assert supervised.running is False
