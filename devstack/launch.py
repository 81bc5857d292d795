"""Start a stand-in as a child process and hold what a caller needs of it."""

import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from devstack.client import PageserverAdmin
from devstack.process import Child


class Standin:
    """A running stand-in; use it as a context manager."""

    def __init__(self, module: str, arguments: Sequence[str | Path], log: Path) -> None:
        self.log = log
        self.child = Child(
            [sys.executable, "-m", f"devstack.{module}", *arguments],
            stderr=log,
        )
        self.address: str = self.child.ready["listen"]
        host, _, port = self.address.rpartition(":")
        self.host, self.port = host, int(port)

    def kill(self) -> None:
        """Crash: SIGKILL."""
        self.child.kill()

    def stop(self) -> int:
        """Orderly end: SIGTERM; the exit status."""
        return self.child.stop()

    def pause(self) -> None:
        """Freeze: connections stay open and silent."""
        self.child.signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Thaw."""
        self.child.signal(signal.SIGCONT)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()


class Pageserver(Standin):
    """A pageserver; `url` is the conninfo for a shard list, `http` its other `HOST:PORT`."""

    def __init__(self, arguments: Sequence[str | Path], log: Path) -> None:
        super().__init__("pageserver", arguments, log)
        self.url = f"postgresql://no_user@{self.address}"
        self.http: str = self.child.ready["http"]
        self.admin = PageserverAdmin(self.child.ready["admin"])


def start_pageserver(
    *,
    pgdata: Path,
    tenant: str,
    timeline: str,
    log_dir: Path,
    name: str = "pageserver",
    shards: str | Sequence[str] = "all",
    stripe_size: int = 2048,
    listen: str = "127.0.0.1:0",
    auth_key: Path | None = None,
    extra: Sequence[str] = (),
) -> Pageserver:
    """Start a pageserver over a data directory; it logs to `log_dir/name.log`."""
    owned = shards if isinstance(shards, str) else ",".join(shards)
    arguments: list[str | Path] = ["--pgdata", pgdata, "--tenant", tenant, "--timeline", timeline]
    arguments += ["--listen", listen, "--shards", owned, "--stripe-size", str(stripe_size)]
    if auth_key is not None:
        arguments += ["--auth-key", auth_key]
    return Pageserver([*arguments, *extra], log_dir / f"{name}.log")
