"""A machine to install packages on: this one's files, copied when written, in own namespaces.

Needs root. Nothing that happens on it is seen outside, and nothing of it is left.
"""

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

ROOT = Path(__file__).resolve().parents[2]
BOOT: Final = """
set -eu
mount --make-rprivate / 2>/dev/null || true  # in a chroot / is no mount point
PYTHONPATH=$3 "$4" -c 'from tests.support.loopback import set_loopback as lo; lo(up=True)'
mount -t tmpfs tmpfs "$1"
mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" "$1/root"
cd "$1/root"
mkdir -p debs
mount --bind "$2" debs
mount -t proc proc proc
mount --rbind /dev dev
mount -t tmpfs -o mode=1777 tmpfs dev/shm
mount -t tmpfs tmpfs run
printf '#!/bin/sh\\nexit 101\\n' >usr/sbin/policy-rc.d
chmod 755 usr/sbin/policy-rc.d
exec chroot . sh -c 'echo booted; exec sleep infinity'
"""
PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Machine:
    """A running one; made by `booted`."""

    def __init__(self, process: int) -> None:
        spaces = ["--mount", "--pid", "--net", "--root", "--wd"]
        self._enter = ["nsenter", f"--target={process}", *spaces, "--"]

    def command(self, script: str, *, user: str = "root") -> list[str]:
        """Return what runs *script* there as *user*."""
        shell = ["env", "-i", f"PATH={PATH}", "LANG=C.UTF-8", "DEBIAN_FRONTEND=noninteractive"]
        become = ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups"]
        return [*self._enter, *become, *shell, "bash", "-euc", script]

    def run(self, script: str, *, user: str = "root", timeout: float = 120.0) -> str:
        """Return what *script* prints.

        Raises:
            RuntimeError: it failed; with what it has said.
        """
        done = subprocess.run(
            self.command(script, user=user),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
            start_new_session=True,
        )
        if done.returncode != 0:
            raise RuntimeError(f"{script}: {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout

    def start(self, script: str, *, user: str) -> None:
        """Start *script* in the background; it ends with the machine."""
        log = shlex.quote(f"/tmp/{user}.log")
        self.run(f"setsid bash -c {shlex.quote(script)} >>{log} 2>&1 </dev/null &", user=user)


@contextmanager
def booted(folder: Path, packages: Path) -> Iterator[Machine]:
    """Boot a machine in *folder*, which sees *packages* as ``/debs``, and end it.

    Raises:
        RuntimeError: this system lets us have none.
    """
    spaces = ["--mount", "--pid", "--net", "--fork", "--kill-child", "--propagation=unchanged"]
    boot = ["bash", "-c", BOOT, "boot", str(folder), str(packages), str(ROOT), sys.executable]
    with subprocess.Popen(
        ["unshare", *spaces, *boot],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        try:
            said = process.stdout.readline()
            if said != "booted\n":
                raise RuntimeError(f"no machine can be made here: {said.strip()}")
            (first,) = _children(process.pid)
            yield Machine(first)
        finally:
            for child in _children(process.pid):
                os.kill(child, signal.SIGKILL)  # and all in its process namespace


def _children(process: int) -> list[int]:
    path = Path(f"/proc/{process}/task/{process}/children")
    return [int(word) for word in path.read_text().split()]
