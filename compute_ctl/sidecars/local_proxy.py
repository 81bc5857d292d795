"""Neon's local_proxy: its configuration file is replaced, and it is told by SIGHUP.

Paths and format are the reference's. It holds a lock on its pid file while it runs; one that does
not run reads the file when it starts.
"""

from __future__ import annotations

import fcntl
import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec
from msgspec import structs

from compute_common.document.spec import LocalProxyConfig
from compute_common.system.atomic_file import ReplacedFile
from compute_ctl.sidecars.wanted import Wanted, fingerprint

FOLDER: Final = Path("/etc/local_proxy")


class LocalProxy:
    """local_proxy on this machine."""

    name = "local_proxy"

    def __init__(self, folder: Path = FOLDER) -> None:
        self._folder = folder
        self._applied: object = None

    def names(self, wanted: Wanted) -> bool:
        """Whether the document says anything of it."""
        return wanted.local_proxy is not None

    def apply(self, wanted: Wanted) -> bool:
        """Bring what the document says into force; False where there is none. Blocks.

        Raises:
            OSError: it cannot be done.
        """
        if not self._folder.is_dir():
            self._applied = None
            return False
        config = wanted.local_proxy or LocalProxyConfig()
        key = config, wanted.tls, fingerprint(wanted.tls)
        if key == self._applied:
            return True
        if wanted.tls is not None:
            config = structs.replace(config, tls=wanted.tls)
        text = msgspec.json.format(msgspec.json.encode(config), indent=2)
        ReplacedFile(self._folder / "config.json", reserve_bytes=0).replace(text)
        self._notify()
        self._applied = key
        return True

    def _notify(self) -> None:
        with suppress(FileNotFoundError, ProcessLookupError), (self._folder / "pid").open() as file:
            if _is_locked(file.fileno()):
                text = file.read(32).strip()
                if text.isdecimal() and int(text) > 1:
                    os.kill(int(text), signal.SIGHUP)


def _is_locked(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False
