"""Somebody removes what the daemon keeps, while it runs."""

import os
import shutil
import time

from compute_ctl.settings import Deadlines
from devstack.compute import Compute
from devstack.wait import wait_until

DAEMON_ENDS_S = Deadlines().shutdown + 3.0
"""With what a busy machine takes for the interpreter's own end."""


def test_a_removed_state_folder_comes_back(compute: Compute) -> None:
    """Socket, lock, state and the generation in force are there again, without a restart."""
    compute.publish(compute.pageserver("a"))
    daemon = compute.start_daemon()
    folder = daemon.socket.parent
    before = daemon.status()["config"]

    shutil.rmtree(folder)

    wait_until("the socket", daemon.socket.exists)
    assert before == daemon.status()["config"]
    generation = before["applied"]["generation"]
    found = {path.name for path in (folder / "g").iterdir()}
    assert {f"{generation}.json", f"{generation}.conf"} == found
    assert f"{daemon.pid}\n" == (folder / "lock").read_text()
    daemon.kill()
    daemon.start()
    compute.wait_in_sync()
    assert generation == daemon.status()["config"]["applied"]["generation"]


def test_a_removed_socket_comes_back(compute: Compute) -> None:
    """A program that tidies up takes the socket alone: it is made again."""
    compute.publish(compute.pageserver("a"))
    daemon = compute.start_daemon()
    daemon.socket.unlink()
    wait_until("the socket", daemon.socket.exists)
    assert daemon.status()["config"]["in_sync"] is True


def test_a_removed_live_file_comes_back(compute: Compute) -> None:
    """Nobody asks, and PostgreSQL has read its files without it: the servers are there again."""
    daemon = compute.daemon
    compute.publish(compute.pageserver("a"))
    compute.start_daemon()
    servers = compute.setting("neon.pageserver_connstring")
    live = compute.postgres.data / "compute_ctl.conf"
    text = live.read_text()

    live.unlink()
    compute.postgres.reload()

    wait_until("the file", live.exists)
    assert text == live.read_text()
    wait_until("its servers", lambda: servers == compute.setting("neon.pageserver_connstring"))
    assert "is not as it was written, writing it again" in daemon.log_text()


def test_a_generation_is_kept_as_soon_as_it_can_be(compute: Compute) -> None:
    """A heal does not wait for the copy; the copy is made when the folder can be written again."""
    compute.publish(compute.pageserver("a"))
    daemon = compute.start_daemon()
    folder = daemon.socket.parent / "g"
    folder.chmod(0o500)
    compute.publish(compute.pageserver("b"))
    assert "applied" == daemon.refresh()
    kept = folder / f"{daemon.status()['config']['applied']['generation']}.conf"
    assert not kept.exists()

    folder.chmod(0o700)

    assert "unchanged" == daemon.refresh()
    assert (compute.postgres.data / "compute_ctl.conf").read_text() == kept.read_text()


def test_numbers_of_attempts_go_on_after_a_restart(compute: Compute) -> None:
    """No two attempts of a compute have one number, whichever daemon made them."""
    compute.publish(compute.pageserver("a"))
    daemon = compute.start_daemon()
    before = daemon.status()["refresh"]["last_attempt"]["id"]
    daemon.stop()
    daemon.start()
    compute.wait_in_sync()

    assert before < daemon.status()["refresh"]["last_attempt"]["id"]


HUNG_DISK = """
import os, time
real_fsync = os.fsync
def fsync(fd):
    while os.path.exists({hangs!r}):
        open({waits!r}, "w").close()
        time.sleep(0.02)
    return real_fsync(fd)
os.fsync = fsync
"""
"""A `sitecustomize` module: each fsync hangs as long as one file exists, and makes the other."""


def test_a_hung_disk_does_not_keep_the_daemon_from_ending(compute: Compute) -> None:
    """It ends within its five seconds, though a write hangs; the next daemon goes on."""
    hangs, waits = compute.folder / "hangs", compute.folder / "waits"
    (compute.folder / "sitecustomize.py").write_text(
        HUNG_DISK.format(hangs=str(hangs), waits=str(waits))
    )
    pageserver = compute.pageserver("a")
    compute.publish(pageserver)
    path = [str(compute.folder), *filter(None, [os.environ.get("PYTHONPATH")])]
    compute.daemon.env["PYTHONPATH"] = os.pathsep.join(path)
    daemon = compute.start_daemon()
    hangs.touch()
    compute.publish(pageserver, settings={"work_mem": "5MB"})
    daemon.call("POST", "/refresh_configuration")
    wait_until("a write to hang", waits.exists)

    begun = time.monotonic()
    assert 0 == daemon.stop()

    assert time.monotonic() - begun < DAEMON_ENDS_S
    hangs.unlink()
    daemon.start()
    compute.wait_in_sync()
    assert "5MB" == compute.postgres.value("SHOW work_mem")
