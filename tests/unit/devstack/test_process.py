"""devstack.process: children that are ready, stopped, and never left over."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from devstack.process import Child, ChildError, alive
from devstack.wait import wait_until

READY = "import sys,time; print('{\"port\": 5}', flush=True); "
FOREVER = "time.sleep(60)"


def python(code: str) -> list[str]:
    """A command that runs `code`."""
    return [sys.executable, "-c", code]


def test_ready_line(tmp_path: Path) -> None:
    """The JSON of the ready line is there, and the child runs until the block ends."""
    with Child(python(READY + FOREVER), stderr=tmp_path / "log") as child:
        assert {"port": 5} == child.ready
        assert child.poll() is None
        pid = child.pid
    assert not alive(pid)
    assert child.poll() == -signal.SIGTERM


def test_stop_kills_a_stubborn_child(tmp_path: Path) -> None:
    """A child that ignores SIGTERM is killed at the deadline."""
    code = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + READY + FOREVER
    child = Child(python(code), stderr=tmp_path / "log")

    begin = time.monotonic()
    assert child.stop(timeout=0.2) == -signal.SIGKILL
    assert time.monotonic() - begin < 5


def test_stop_wakes_a_stopped_child(tmp_path: Path) -> None:
    """A child under SIGSTOP ends by SIGTERM all the same."""
    child = Child(python(READY + FOREVER), stderr=tmp_path / "log")
    child.signal(signal.SIGSTOP)

    assert child.stop() == -signal.SIGTERM


def test_child_that_dies_early(tmp_path: Path) -> None:
    """The error has the exit status and what the child said."""
    code = "import sys; sys.exit('no such luck')"
    with pytest.raises(ChildError, match=r"ended with status 1\nno such luck"):
        Child(python(code), stderr=tmp_path / "log")


def test_child_that_is_never_ready(tmp_path: Path) -> None:
    """After the deadline the child is killed, not left behind."""
    code = (
        f"import os,time; open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid())); {FOREVER}"
    )
    with pytest.raises(ChildError, match="was not ready in time"):
        Child(python(code), stderr=tmp_path / "log", ready_timeout=1.0)
    assert not alive(int((tmp_path / "pid").read_text()))


def test_child_that_prints_something_else(tmp_path: Path) -> None:
    """A first line that is no JSON is shown."""
    with pytest.raises(ChildError, match="no ready line but b'hello"):
        Child(python("import time; print('hello', flush=True); " + FOREVER), stderr=tmp_path / "l")


def test_without_a_ready_line(tmp_path: Path) -> None:
    """Any program can be a child; stdout goes to the log with stderr."""
    child = Child(python("print('out')"), stderr=tmp_path / "log", ready=False)

    assert 0 == child.wait(10)
    assert "out\n" == child.stderr_text()


def test_wait_is_bounded(tmp_path: Path) -> None:
    """Waiting for a child that goes on is an error."""
    with (
        Child(python(READY + FOREVER), stderr=tmp_path / "log") as child,
        pytest.raises(ChildError, match=r"still runs after 0\.05 s"),
    ):
        child.wait(0.05)


def test_missing_program(tmp_path: Path) -> None:
    """A program that does not exist is an OSError."""
    with pytest.raises(FileNotFoundError):
        Child(["/nowhere/program"], stderr=tmp_path / "log")


def test_children_die_with_their_parent(tmp_path: Path) -> None:
    """A parent killed by SIGKILL leaves nothing behind."""
    inner = READY + FOREVER
    code = (
        "import sys,time; from pathlib import Path; from devstack.process import Child; "
        f"c = Child([sys.executable, '-c', {inner!r}], stderr=Path({str(tmp_path / 'log')!r})); "
        "print(c.pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen(python(code), stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert alive(pid)
        parent.kill()
    wait_until("the child to die", lambda: not alive(pid), timeout=5)
