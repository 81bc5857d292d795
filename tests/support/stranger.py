"""A server of another user than root and the tests': it keeps what it is told and answers 200."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from devstack.installation import make_folder
from devstack.wait import wait_until

USER = 61234  # nobody's number, in the passwd sense
PROGRAM = """
import socket, sys, threading
where, host, log = sys.argv[1:]
if where.startswith("/"):
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(where)
else:
    listener = socket.create_server((host, int(where)))
listener.listen()
print(listener.getsockname()[1] if not where.startswith("/") else 0, flush=True)
def serve(client):
    while data := client.recv(65536):
        with open(log, "ab") as file:
            file.write(data)
        if b"}" in data:
            client.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 0\\r\\n\\r\\n")
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
"""


@dataclass(frozen=True)
class Stranger:
    """Where it listens, and the file of what it was told."""

    endpoint: str
    port: int
    log: Path

    @property
    def heard(self) -> bytes:
        """Return all that it was told so far."""
        return self.log.read_bytes() if self.log.exists() else b""

    def wait_heard(self, text: bytes) -> None:
        """Wait until it was told *text*."""
        wait_until(f"{text!r} at the stranger's", lambda: text in self.heard)


@contextmanager
def stranger(*, unix: bool = False, host: str = "127.0.0.1", port: int = 0) -> Iterator[Stranger]:
    """Listen on loopback or on a unix socket as another user, which takes root."""
    if os.geteuid() != 0:
        pytest.skip("only root can start a server of another user")
    folder = make_folder("stranger-")
    os.chown(folder, USER, USER)
    folder.chmod(0o755)
    where = str(folder / "socket") if unix else str(port)
    log = folder / "heard"
    process = subprocess.Popen(
        ["/usr/bin/python3", "-c", PROGRAM, where, host, str(log)],
        stdout=subprocess.PIPE,
        cwd="/",
        user=USER,
        group=USER,
        extra_groups=[],
    )
    assert process.stdout is not None
    try:
        bound = int(process.stdout.readline())
        if unix:
            (folder / "socket").chmod(0o777)
        yield Stranger(f"unix:{where}" if unix else f"http://{host}:{bound}", bound, log)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        shutil.rmtree(folder)
