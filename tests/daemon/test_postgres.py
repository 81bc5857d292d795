"""The server as a process: found, watched, never mistaken for another, stopped."""

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from compute_ctl.postgres import Attached
from devstack.wait import wait_until
from tests.daemon.watching import Watch
from tests.support.fixtures import PostgresFactory


async def test_attached_sees_every_incarnation(
    make_postgres: PostgresFactory, watch: Watch
) -> None:
    """Start, death and next start are told as they happen, and the pid is the current one."""
    server = make_postgres(start=False)
    attached = Attached(server.data)
    watch.start(attached)
    assert (False, False, None) == (attached.running, attached.ready, attached.pid)
    await asyncio.to_thread(server.start)
    assert "ready" == await watch.next()
    assert (attached.running, attached.ready, attached.pid) == (True, True, server.pid)
    os.kill(server.pid, signal.SIGKILL)
    assert ["lost", "exit None"] == [await watch.next(2), await watch.next()]
    assert (False, False, None) == (attached.running, attached.ready, attached.pid)
    await asyncio.to_thread(server.stop)
    wait_until("the orphans to end", lambda: not list(_processes_in(server.data)))
    await asyncio.to_thread(server.start)
    assert "ready" == await watch.next()
    assert attached.pid == server.pid


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
        assert (False, False, False) == (attached.running, attached.ready, attached.reload())
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
    assert (False, None, False) == (attached.running, attached.pid, attached.reload())


async def test_orphan_is_not_the_postmaster(make_postgres: PostgresFactory) -> None:
    """A child of the server, named by a stale file, is not signalled: its title gives it away."""
    server = make_postgres()
    child = server.value("SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'")
    lines = (server.data / "postmaster.pid").read_text().splitlines()
    lines[0], lines[2] = str(child), "1000000000"
    (server.data / "postmaster.pid").write_text("\n".join(lines) + "\n")
    attached = Attached(server.data)
    assert (False, None) == (attached.running, attached.pid)


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
    assert "ready" == await watch.next()
    session = server.connect()
    await attached.stop()
    assert server.process is not None
    assert 0 == server.process.wait(5)
    assert ["lost", "exit None"] == [await watch.next(), await watch.next()]
    session.close()


async def test_stubborn_server_is_stopped_harder(make_postgres: PostgresFactory) -> None:
    """A server that does not answer a fast stop in time is ended all the same."""
    server = make_postgres()
    os.kill(server.pid, signal.SIGSTOP)
    assert server.process is not None
    # A halted process takes neither SIGINT nor SIGQUIT: only SIGKILL ends it.
    await Attached(server.data).stop(deadline_s=0.1, kill_after_s=0.1)
    assert server.process.wait(5) == -signal.SIGKILL
