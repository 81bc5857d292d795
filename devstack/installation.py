"""The PostgreSQL that is installed here, and whom and where its programs run as.

PostgreSQL refuses to run as root: started as root, its processes change user, Python does not.
"""

import atexit
import os
import pwd
import random
import re
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from itertools import cycle, islice
from pathlib import Path
from typing import Any

DEFAULT_PG_CONFIG = "/usr/lib/postgresql/15/bin/pg_config"
PORTS = 100
"""How many a process has to give."""


def pg_config(option: str) -> str:
    """What the pg_config of the server under test (``PG_CONFIG``) says to ``--option``."""
    return _ask(os.environ.get("PG_CONFIG", DEFAULT_PG_CONFIG), option)


@cache
def _ask(command: str, option: str) -> str:
    return subprocess.check_output([command, f"--{option}"], text=True).strip()


def major() -> int:
    """Major version of the server under test."""
    found = re.match(r"PostgreSQL (\d+)", pg_config("version"))
    assert found is not None
    return int(found[1])


def binary(name: str) -> str:
    """Path of the program *name* of the server under test."""
    return str(Path(pg_config("bindir")) / name)


def os_user() -> str | None:
    """The user Postgres must run as, or None when that is ourselves."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with suppress(KeyError):
            return pwd.getpwnam(name).pw_name
    raise RuntimeError("postgres cannot run as root and there is no user postgres or nobody")


def run_as() -> dict[str, Any]:
    """Keyword arguments that make ``subprocess`` start a program as :func:`os_user`."""
    name = os_user()
    if name is None:
        return {}
    return {"user": name, "group": pwd.getpwnam(name).pw_gid, "extra_groups": []}


def give_away(path: Path) -> None:
    """Make *path* belong to :func:`os_user`."""
    name = os_user()
    if name is not None:
        record = pwd.getpwnam(name)
        os.chown(path, record.pw_uid, record.pw_gid)


def replace_file(path: Path, text: str) -> None:
    """Put *text* in the place of the file *path* at once; it belongs to :func:`os_user`."""
    temporary = path.with_suffix(".tmp")
    temporary.write_text(text)
    give_away(temporary)
    temporary.replace(path)


@cache
def _own_ports() -> tuple[socket.socket, Iterator[int]]:
    """Claim a block of ports for this process, by a name that the kernel frees when it ends.

    Below the range from which the kernel takes ports for outgoing connections, so that a server
    that is started again finds its port free.
    """
    for first in random.sample(range(15_000, 30_000, PORTS), 15_000 // PORTS):
        claim = socket.socket(socket.AF_UNIX)
        try:
            claim.bind(f"\0compute-refresh-ports-{first}")
        except OSError:
            claim.close()
        else:
            atexit.register(claim.close)
            return claim, cycle(range(first, first + PORTS))
    raise RuntimeError("other processes have claimed all ports")


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that nobody listens on, and no other process is given."""
    _claim, ports = _own_ports()
    for port in islice(ports, PORTS):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise RuntimeError("no port is free")


def make_folder(prefix: str) -> Path:
    """Create a short folder that the server may write (socket paths end at 107 bytes)."""
    path = Path(tempfile.mkdtemp(prefix=prefix))
    give_away(path)
    return path
