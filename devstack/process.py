"""Child processes that cannot outlive us: started, waited for until ready, stopped within a bound.

Synchronous and without threads. Start children from the main thread: the kernel ties the death
signal to the thread that forked. A program that changes its own user loses that tie and must be
stopped.
"""

import io
import json
import os
import pwd
import re
import select
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from signal import SIGCONT, SIGKILL, SIGTERM
from typing import Any, ClassVar, Self

from devstack.fork_server import DieWithParent, Popen
from devstack.wait import wait_until

TAIL_BYTES = 4000
READY_LIMIT = 64 * 1024


class ChildError(Exception):
    """A child did not start, or did not stop; the text ends with what it said on stderr."""


class Child:
    """One running program. Use it as a context manager, or call `stop`.

    `stderr`: the file its stderr (and without `ready` its stdout) is appended to. `ready`: wait at
    most `ready_timeout` seconds for one JSON line on stdout. `user`: run as this user name. Raises
    ChildError and OSError; a child that fails to become ready is killed first.
    """

    def __init__(
        self,
        argv: Sequence[str | Path],
        *,
        stderr: Path,
        ready: bool = True,
        ready_timeout: float = 60.0,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        user: str | None = None,
        death_signal: int = SIGKILL,
    ) -> None:
        self.name = " ".join(str(word) for word in argv[:3])
        self.stderr = stderr
        self.ready: dict[str, Any] = {}
        output, child_output = os.pipe()
        self._output = io.FileIO(output)
        try:
            with stderr.open("ab") as log:
                self._process = Popen(
                    [str(word) for word in argv],
                    stdin=subprocess.DEVNULL,
                    stdout=child_output if ready else log,
                    stderr=log,
                    env={**os.environ, **(env or {})},
                    cwd=cwd,
                    preexec_fn=DieWithParent(death_signal, os.getpid()),
                    **_account(user),
                )
        except BaseException:
            self._output.close()
            raise
        finally:
            os.close(child_output)
        if ready:
            self.ready = self._await_ready(ready_timeout)
        else:
            self._output.close()

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    def poll(self) -> int | None:
        """Exit status (negative: the signal), or None while it runs."""
        return self._process.poll()

    def wait(self, timeout: float) -> int:
        """Wait for the end; the exit status. Raises ChildError after `timeout` seconds."""
        try:
            return self._process.wait(timeout)
        except subprocess.TimeoutExpired as error:
            raise self._failure(f"still runs after {timeout:g} s") from error

    def signal(self, number: int) -> None:
        """Send a signal; no effect on a child that has ended."""
        self._process.send_signal(number)

    def stop(self, timeout: float = 5.0, sig: int = SIGTERM) -> int:
        """End it in order, by SIGKILL after `timeout` seconds; the exit status."""
        self.signal(SIGCONT)
        self.signal(sig)
        try:
            status = self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            status = self.kill()
        self._output.close()
        return status

    def kill(self) -> int:
        """End it by SIGKILL; the exit status."""
        self._process.kill()
        status = self._process.wait()
        self._output.close()
        return status

    def stderr_text(self) -> str:
        """The tail of what it said."""
        with self.stderr.open("rb") as file:
            file.seek(max(0, self.stderr.stat().st_size - TAIL_BYTES))
            return file.read().decode(errors="replace")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _await_ready(self, timeout: float) -> dict[str, Any]:
        try:
            return self._read_ready(time.monotonic() + timeout)
        except BaseException:
            self.kill()
            raise

    def _read_ready(self, deadline: float) -> dict[str, Any]:
        line = b""
        while b"\n" not in line:
            remaining = deadline - time.monotonic()
            if remaining <= 0 or not select.select([self._output], [], [], remaining)[0]:
                raise self._failure("was not ready in time")
            chunk = self._output.read(READY_LIMIT)
            if not chunk:
                raise self._failure(f"ended with status {self._process.wait()}")
            line += chunk
        try:
            value: dict[str, Any] = json.loads(line.partition(b"\n")[0])
        except json.JSONDecodeError as error:
            raise self._failure(f"printed no ready line but {line[:200]!r}") from error
        return value

    def _failure(self, what: str) -> ChildError:
        return ChildError(f"{self.name} {what}\n{self.stderr_text()}".rstrip())


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and was not waited for (a zombie) does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


def memory_mb(pid: int, *, peak: bool = False) -> float:
    """Resident memory of a process in MB: what it has now, or the most that it has had."""
    name, status = "VmHWM" if peak else "VmRSS", Path(f"/proc/{pid}/status").read_text()
    found = re.search(rf"(?m)^{name}:\s+(\d+) kB$", status)
    if found is None:
        raise RuntimeError(f"the kernel tells no memory of process {pid}")
    return int(found[1]) / 1024


def _account(user: str | None) -> dict[str, Any]:
    """Return the options of `Popen` that run a program as *user*."""
    if user is None:
        return {}
    return {"user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": []}


class Program(ABC):
    """A daemon run as a child process, which may be started again and again.

    Use it as a context manager (it is started on entry), or call `start` and `stop`.
    """

    name: ClassVar[str]
    start_timeout: ClassVar[float]
    """Seconds until it answers."""
    stop_timeout: ClassVar[float]

    def __init__(self, *, log: Path) -> None:
        self.log = log
        self.argv: list[str | Path] = []
        self.env: dict[str, str] = {}
        self.child: Child | None = None

    @abstractmethod
    def answers(self) -> bool:
        """Whether its API answers. Raises OSError."""

    def start(self) -> Self:
        """Start it, and wait until its API answers. Raises ChildError or AssertionError."""
        self.spawn()
        wait_until(f"{self.name} to answer", self._answers, self.start_timeout)
        return self

    def spawn(self) -> None:
        """Start it and wait for nothing."""
        self.child = Child(self.argv, stderr=self.log, ready=False, env=self.env)

    def _answers(self) -> bool:
        if self.child is not None and self.child.poll() is not None:
            raise AssertionError(f"{self.name} ended:\n{self.child.stderr_text()}")
        try:
            return self.answers()
        except OSError:
            return False

    @property
    def pid(self) -> int:
        """Process id."""
        assert self.child is not None, f"{self.name} was not started"
        return self.child.pid

    def kill(self) -> None:
        """Crash it."""
        if self.child is not None:
            self.child.kill()

    def stop(self) -> int:
        """End it in order; the exit status."""
        assert self.child is not None, f"{self.name} was not started"
        return self.child.stop(timeout=self.stop_timeout)

    def log_text(self) -> str:
        """All it has logged."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        if self.child is not None and self.child.poll() is None:
            self.stop()
