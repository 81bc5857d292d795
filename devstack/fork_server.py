"""Starts Python programs as forks of a process that has already imported them.

An interpreter of its own spends most of a short life on imports: the daemon 0.6 s of CPU, a
stand-in 0.4 s, and a run of the tests starts hundreds. A fork has its own pid, environment, folder
and user like any other child, and ends as an interpreter ends. What it cannot show is the start
itself: benchmarks, and tests of what is imported when, use interpreters of their own.

The fork becomes a child of whoever asked, not of the server, so that it is waited for as usual: it
is forked twice, and the kernel gives an orphan to the nearest ancestor that calls itself subreaper.
"""

import atexit
import ctypes
import gc
import importlib
import json
import os
import pkgutil
import pwd
import runpy
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from typing import Any

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_CHILD_SUBREAPER = 36
REQUEST_LIMIT = 1 << 17

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class DieWithParent:
    """What a child calls to get the signal *number* when its parent dies."""

    number: int
    parent: int

    def __call__(self) -> None:
        """Tie this process to the parent's life. Between fork and exec, or in a fork."""
        _libc.prctl(PR_SET_PDEATHSIG, self.number)
        if os.getppid() != self.parent:  # it died before the call took effect
            os._exit(1)


class ForkServer:
    """The server and its process, which is started by the first request and ends with us.

    *libraries*: modules that the programs import late; here they are imported before the fork.
    """

    def __init__(self, *programs: str, libraries: Sequence[str] = ()) -> None:
        self.programs = programs
        self._libraries = libraries
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None

    def fork(self, request: dict[str, Any], descriptors: Sequence[int]) -> int:
        """Start a program; its process id. Raises OSError as `subprocess.Popen` does."""
        with self._lock:
            connection = self._socket or self._start()
            _libc.prctl(PR_SET_CHILD_SUBREAPER, 1)
            try:
                socket.send_fds(connection, [json.dumps(request).encode()], descriptors)
                answer = json.loads(connection.recv(REQUEST_LIMIT) or b"{}")
            finally:
                _libc.prctl(PR_SET_CHILD_SUBREAPER, 0)
        if "error" in answer:
            os.waitpid(answer["pid"], 0)
            raise OSError(*answer["error"])
        return int(answer["pid"])

    def close(self) -> None:
        """End its process. What it has forked lives on."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _start(self) -> socket.socket:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        words = [",".join(self._libraries), *self.programs]
        with theirs:
            subprocess.Popen(
                [sys.executable, "-m", __name__, str(theirs.fileno()), *words],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
            ).returncode = 0  # not waited for: it ends when our end of the socket closes
        self._socket = ours
        atexit.register(self.close)
        return ours


def python_options(env: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Variables that an interpreter reads when it starts."""
    return {name: value for name, value in env.items() if name.startswith("PYTHON")}


_server: ForkServer | None = None


def use(server: ForkServer | None) -> None:
    """From now on, let *server* start the programs it knows; None: let nobody."""
    global _server  # noqa: PLW0603 - one a process, as the interpreter is
    _server = server


def server() -> ForkServer | None:
    """Return the server in use."""
    return _server


class Popen(subprocess.Popen[Any]):
    """A `subprocess.Popen` that forks `python -m PROGRAM` off the server in use, if there is one.

    What a fork cannot have (a session of its own, passed descriptors, another PYTHONPATH) gets an
    interpreter.
    """

    def _execute_child(self, *arguments: Any) -> None:
        start: Callable[..., None] = super()._execute_child  # type: ignore[misc]  # a private method
        asked = signature(start).bind(*arguments).arguments
        argv = [os.fspath(word) for word in asked["args"]]
        tied = asked["preexec_fn"] is None or isinstance(asked["preexec_fn"], DieWithParent)
        plain = tied and not asked["pass_fds"] and not asked["start_new_session"]
        plain = plain and (asked["env"] is None or python_options(asked["env"]) == python_options())
        module = argv[2] if argv[:2] == [sys.executable, "-m"] and plain else ""
        if _server is not None and module in _server.programs:
            self._fork(_server, argv[2:], asked)
        else:
            start(*arguments)

    def _fork(self, server: ForkServer, argv: list[str], asked: dict[str, Any]) -> None:
        tie = asked["preexec_fn"]
        user = pwd.getpwuid(asked["uid"]).pw_name if asked["uid"] is not None else None
        request = {
            "argv": argv,
            "env": dict(os.environ if asked["env"] is None else asked["env"]),
            "cwd": os.fspath(asked["cwd"] or Path.cwd()),
            "user": user,
            "parent": os.getpid(),
            "death_signal": tie.number if tie else 0,
        }
        wanted = (asked["p2cread"], asked["c2pwrite"], asked["errwrite"])
        descriptors = [number if fd == -1 else fd for number, fd in enumerate(wanted)]
        self.pid = server.fork(request, descriptors)
        self._child_created = True
        pipes = ("p2cread", "p2cwrite", "c2pread", "c2pwrite", "errread", "errwrite")
        self._close_pipe_fds(*(asked[name] for name in pipes))  # type: ignore[attr-defined]  # private


def run(
    argv: Sequence[str], *, timeout: float, **options: Any
) -> "subprocess.CompletedProcess[str]":
    """Run a program to its end, as `subprocess.run` does with its output captured as text."""
    pipe = subprocess.PIPE
    with Popen(argv, stdout=pipe, stderr=pipe, text=True, **options) as process:
        try:
            out, err = process.communicate(timeout=timeout)
        except BaseException:
            process.kill()
            raise
        return subprocess.CompletedProcess(argv, process.returncode, out, err)


# What follows runs in the server's process.


def load(program: str) -> None:
    """Import every module of a program."""
    package = importlib.import_module(program)
    for module in pkgutil.walk_packages(package.__path__, f"{program}."):
        importlib.import_module(module.name)
    del sys.modules[f"{program}.__main__"]  # each fork runs it anew


def serve(connection: socket.socket) -> list[str] | None:
    """Fork as asked. Returns in a fork, with what it is to run, and when nobody asks any more."""
    while True:
        raw, descriptors, _, _ = socket.recv_fds(connection, REQUEST_LIMIT, 3)
        if not raw:
            return None
        middle = os.fork()
        if middle == 0:
            if os.fork() == 0:
                return become(json.loads(raw), descriptors, connection)
            os._exit(0)
        os.waitpid(middle, 0)
        for descriptor in descriptors:
            os.close(descriptor)


def become(asked: dict[str, Any], descriptors: list[int], connection: socket.socket) -> list[str]:
    """Be the child that was asked for; return the program's arguments."""
    while os.getppid() != asked["parent"]:
        time.sleep(0)  # the process between has not ended yet
    answer: dict[str, Any] = {"pid": os.getpid()}
    try:
        for number, descriptor in enumerate(descriptors):
            os.dup2(descriptor, number)
            os.close(descriptor)
        if asked["user"] is not None:
            record = pwd.getpwnam(asked["user"])
            os.setgroups([])
            os.setgid(record.pw_gid)
            os.setuid(record.pw_uid)
            _libc.prctl(PR_SET_DUMPABLE, 1)  # as exec would
        os.chdir(asked["cwd"])
        os.environ.clear()
        os.environ.update(asked["env"])
        if asked["death_signal"]:
            DieWithParent(asked["death_signal"], asked["parent"])()
    except OSError as error:
        answer["error"] = [error.errno, error.strerror, error.filename]
    connection.send(json.dumps(answer).encode())
    connection.close()
    if "error" in answer:
        os._exit(1)
    argv: list[str] = asked["argv"]
    return argv


def end(program: Callable[[], object]) -> None:
    """Run a program, and end as an interpreter does, but leave the memory to the kernel.

    To take apart what all modules hold would first copy it, page by page: 0.1 s of CPU time.
    """
    status: object = 0
    try:
        program()
    except SystemExit as ending:
        status = ending.code
    except Exception:  # noqa: BLE001 - reported as the interpreter does
        sys.excepthook(*sys.exc_info())
        status = 1
    threading._shutdown()  # type: ignore[attr-defined]  # noqa: SLF001 - waits for threads
    atexit._run_exitfuncs()  # noqa: SLF001 - nothing public runs them before the end
    if status is not None and not isinstance(status, int):
        print(status, file=sys.stderr)
        status = 1
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except (OSError, ValueError):
        raise SystemExit(status) from None  # the interpreter knows how to report that
    os._exit((status or 0) & 0xFF)


def main() -> None:
    """Import libraries and programs, then fork."""
    connection = socket.socket(fileno=int(sys.argv[1]))
    for library in filter(None, sys.argv[2].split(",")):
        importlib.import_module(library)
    for program in sys.argv[3:]:
        load(program)
    gc.collect()
    gc.freeze()
    argv = serve(connection)
    if argv is not None:
        sys.argv = argv
        end(lambda: runpy.run_module(argv[0], run_name="__main__", alter_sys=True))


if __name__ == "__main__":
    main()
