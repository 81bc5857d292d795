"""A real etcd of one member, where the program is installed (Debian: etcd-server)."""

import http.client
import os
import shutil
import signal
from pathlib import Path

from devstack.installation import free_port
from devstack.process import Program


class Etcd(Program):
    """One etcd on loopback; use it as a context manager."""

    name = "etcd"
    start_timeout = 60.0
    stop_timeout = 10.0

    def __init__(self, folder: Path, *, port: int | None = None) -> None:
        super().__init__(log=folder / "etcd.log")
        self.port = port or free_port()
        self.url = client = f"http://127.0.0.1:{self.port}"
        peer = f"http://127.0.0.1:{free_port()}"
        self.argv += ["etcd", "--name", "one", "--data-dir", folder / "etcd", "--logger", "zap"]
        self.argv += ["--listen-client-urls", client, "--advertise-client-urls", client]
        self.argv += ["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer]
        self.argv += ["--initial-cluster", f"one={peer}", "--unsafe-no-fsync"]

    @staticmethod
    def missing() -> list[str]:
        """Return the programs that are not installed."""
        return [] if shutil.which("etcd") else ["etcd"]

    def answers(self) -> bool:
        """Whether it is healthy. Raises OSError."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", "/health")
            return connection.getresponse().status == 200
        except http.client.HTTPException:
            return False
        finally:
            connection.close()

    def suspend(self) -> None:
        """Let it fall silent; its connections stay open."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        os.kill(self.pid, signal.SIGCONT)
