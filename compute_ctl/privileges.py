"""Switches to the owner of the data directory where the daemon is started as root.

Postgres refuses root, and symbolic links in a folder of another user could mislead a root daemon.
So the process becomes the owner for good before it opens anything in the data directory. Modules
that are imported late are imported before that, as the interpreter's folder may be unreadable
afterwards. To be called once, in the main thread, before the event loop.
"""

from __future__ import annotations

import codecs
import ctypes
import importlib
import importlib.util
import logging
import os
import pwd
from pathlib import Path
from typing import Final

from compute_common.errors import SettingsError

logger = logging.getLogger(__name__)

_PR_SET_DUMPABLE: Final = 4

LATE_IMPORTS: Final = (
    "_strptime",
    "aiohttp",
    "aiohttp.web",
    "asyncio.staggered",
    "concurrent.futures.thread",
    "ctypes",
    "email.utils",
    "prometheus_client",
    "psycopg",
    "psycopg.pq",
    "psycopg_binary",
    "psycopg_binary.pq",
    "zoneinfo",
)
"""Modules that the daemon or its libraries import when first used."""
KEY_IMPORTS: Final = ("jwt", "jwt.algorithms", "jwt.api_jwk")
"""Modules for the first key of a JWKS: 9 MB, so only where they cannot be imported later."""
LATE_CODECS: Final = ("ascii", "idna", "latin-1", "punycode", "utf-8")


def prepare(*, keys: bool = True) -> None:
    """Import the modules that are imported late; missing ones are not needed."""
    for name in LATE_IMPORTS + (KEY_IMPORTS if keys else ()):
        try:
            importlib.import_module(name)
        except ImportError:
            continue
    for name in LATE_CODECS:
        codecs.lookup(name)


def hide_memory() -> None:
    """Prevent all but root from reading this process's memory, which holds passwords and tokens.

    It covers ptrace, /proc and core dumps. Child processes are not affected, so PostgreSQL still
    writes the core dumps that its limit allows. To be called after `become_owner`: a change of user
    resets it.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        logger.warning("could not protect the daemon's memory: %s", os.strerror(ctypes.get_errno()))


def become_owner(pgdata: Path) -> bool:
    """Become the owner of *pgdata*; return whether anything changed (only root can).

    A missing data directory is accepted unless root runs this, who could not know its owner.

    Raises:
        SettingsError: the directory belongs to root, to somebody else, or does not exist.
    """
    me = os.geteuid()
    try:
        owner = pgdata.stat()
    except FileNotFoundError:
        if me != 0:
            return False
        raise SettingsError(
            f'data directory "{pgdata}" does not exist, and root cannot run Postgres',
            hint=f"Make it for the user that shall: install -d -m 700 -o postgres {pgdata}",
        ) from None
    except OSError as error:
        raise SettingsError(
            f'could not stat data directory "{pgdata}": {error.strerror}'
        ) from error
    if me not in (0, owner.st_uid):
        raise SettingsError(
            f'data directory "{pgdata}" belongs to user {_name(owner.st_uid)}, not to {_name(me)}',
            hint=f"Run compute_ctl as root or as {_name(owner.st_uid)}.",
        )
    if owner.st_uid == 0:
        raise SettingsError(
            f'data directory "{pgdata}" belongs to root, and Postgres does not run as root',
            hint=f"Give it to the user that shall run Postgres: chown -R postgres: {pgdata}",
        )
    if me == owner.st_uid:
        return False
    prepare(keys=not _can_import_later("jwt", owner.st_uid, owner.st_gid))
    _become(owner.st_uid, owner.st_gid)
    return True


def _can_import_later(name: str, uid: int, group_of_folder: int) -> bool:
    """Whether module *name* can still be imported as that user; also if it is not installed."""
    found = importlib.util.find_spec(name)
    if found is None or found.origin is None:
        return True
    return can_read(Path(found.origin), uid, group_of_folder)


def can_read(path: Path, uid: int, group_of_folder: int) -> bool:
    """Whether *path* is readable after a switch to user *uid*.

    A child process switches and tries, since only the kernel knows all rules.
    """
    child = os.fork()
    if child == 0:
        try:
            _become(uid, group_of_folder)
            os._exit(0 if os.access(path, os.R_OK) else 1)
        finally:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def _become(uid: int, group_of_folder: int) -> None:
    try:
        user: pwd.struct_passwd | None = pwd.getpwuid(uid)
    except KeyError:
        user = None  # in a container the number may have no name
    if user is None:
        os.setgroups([])
        gid, home = group_of_folder, "/"
    else:
        os.initgroups(user.pw_name, user.pw_gid)
        gid, home = user.pw_gid, user.pw_dir
        os.environ["USER"] = os.environ["LOGNAME"] = user.pw_name
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    os.environ["HOME"] = home


def _name(uid: int) -> str:
    try:
        return f'"{pwd.getpwuid(uid).pw_name}"'
    except KeyError:
        return f"ID {uid}"
