"""Programs that are forked: they are children like all others."""

import os
import pwd
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from devstack import fork_server
from devstack.fork_server import DieWithParent, ForkServer, Popen
from devstack.installation import make_folder, os_user, run_as

PROGRAM = """
import os, pathlib, signal, sys

if __name__ == "__main__":
    said = sys.argv[1], os.environ.get("WORD"), pathlib.Path.cwd(), os.getppid(), os.geteuid()
    print(*said, flush=True)
    if "wait" in sys.argv:
        signal.pause()
    sys.exit(int(sys.argv[1]))
"""


@pytest.fixture(autouse=True)
def _forking(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let a server fork the program `forked`, which is no part of the product."""
    folder = make_folder("fork-")  # Postgres's user may read it
    package = folder / "forked"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text(PROGRAM)
    monkeypatch.setenv("PYTHONPATH", str(folder))
    before = fork_server.server()
    with closing(ForkServer("forked")) as server:
        fork_server.use(server)
        yield
    fork_server.use(before)
    shutil.rmtree(folder)


def command(*words: str) -> list[str]:
    """Return the command line."""
    return [sys.executable, "-m", "forked", *words]


def test_a_fork_is_our_child(tmp_path: Path) -> None:
    """Arguments, variables, folder, output and exit status are those of an interpreter."""
    env = {**os.environ, "WORD": "red"}
    done = fork_server.run(command("7"), timeout=10, env=env, cwd=tmp_path)

    assert (7, "") == (done.returncode, done.stderr)
    assert f"7 red {tmp_path} {os.getpid()} {os.geteuid()}\n" == done.stdout


def test_two_have_nothing_in_common() -> None:
    """What one fork was given is gone in the next."""
    env = {**os.environ, "WORD": "red"}
    fork_server.run(command("0"), timeout=10, env=env)
    done = fork_server.run(command("3"), timeout=10)

    assert 3 == done.returncode
    assert done.stdout.startswith("3 None ")


def test_a_signal_ends_it() -> None:
    """It is waited for as any child is."""
    with Popen(command("0", "wait"), stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline()
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)

        assert -signal.SIGTERM == process.wait(10)


def test_what_cannot_start_is_an_error(tmp_path: Path) -> None:
    """A folder that is missing is told as `subprocess` tells it."""
    with pytest.raises(FileNotFoundError, match="nowhere"):
        fork_server.run(command("0"), timeout=10, cwd=tmp_path / "nowhere")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_another_user() -> None:
    """It runs as whom it should."""
    done = fork_server.run(command("0"), timeout=10, cwd="/", **run_as())
    expected = pwd.getpwnam(str(os_user())).pw_uid

    assert str(expected) == done.stdout.split()[-1]


def test_it_dies_with_its_parent() -> None:
    """Of a parent that is killed nothing is left."""
    program = (
        "import subprocess, sys, time\n"
        "from devstack import fork_server\n"
        "from devstack.fork_server import *\n"
        "fork_server.use(ForkServer('forked'))\n"
        f"p = Popen({command('0', 'wait')!r}, preexec_fn=DieWithParent(9, os.getpid()))\n"
        "time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline()
        parent.kill()
        assert b"" == parent.stdout.read()  # ends when the last holder of the pipe has ended


def test_a_tie_to_somebody_else_is_cut() -> None:
    """A child whose parent has died before it could be tied ends at once."""
    child = os.fork()
    if child == 0:
        DieWithParent(9, 1)()
        os._exit(0)
    assert 1 == os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
