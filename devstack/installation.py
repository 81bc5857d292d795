"""The PostgreSQL that is installed here, and whom and where its programs run as.

PostgreSQL refuses to run as root: started as root, its processes change user, Python does not.
"""

import os
import pwd
import random
import re
import socket
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

DEFAULT_PG_CONFIG = "/usr/lib/postgresql/15/bin/pg_config"


def pg_config(option: str) -> str:
    """What the pg_config of the server under test (``PG_CONFIG``) says to ``--option``."""
    command = os.environ.get("PG_CONFIG", DEFAULT_PG_CONFIG)
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


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that nobody listens on.

    Below the range from which the kernel takes ports for outgoing connections, so that a server
    that is started again finds it free.
    """
    while True:
        port = random.randint(15_000, 30_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def make_folder(prefix: str) -> Path:
    """Create a short folder that the server may write (socket paths end at 107 bytes)."""
    path = Path(tempfile.mkdtemp(prefix=prefix))
    give_away(path)
    return path
