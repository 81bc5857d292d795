"""A disk that fills up, is slow, and keeps what a crash left behind.

Files are replaced as the daemon's own `ReplacedFile` does it: temporary file, fsync, rename, fsync
of the folder. Every primitive may be the last one before a crash (`crash_in`), in the middle of a
write too. A power failure may undo a rename that no fsync of the folder followed, and tear a file
whose content was not synchronized.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import datetime
from typing import Final

from devstack.virtual_loop import Crash

CONF: Final = "compute_ctl.conf"
STATE: Final = "compute_ctl/state.json"
TOKEN: Final = "compute_ctl/storage_token"
GENERATIONS: Final = "compute_ctl/g/"
KEPT: Final = 5


class Disk:
    """Files by name, and what is wrong with the disk at present."""

    def __init__(self) -> None:
        self.files: dict[str, str] = {}
        self.full = False
        self.crash_in: int | None = None
        """Crash at this many further primitives."""
        self.on_change: Callable[[str], None] = lambda _name: None
        """Told the name of every file that has become another one."""
        self.changed_at: dict[str, datetime] = {}
        """When each file became what it is; kept by whoever has a clock."""
        self._reserved: set[str] = set()
        """Files whose next replacement has its blocks already."""
        self._unsynced: dict[str, str | None] = {}
        """What a name pointed to before renames that may not survive a power failure."""
        self._unwritten: set[str] = set()
        """Files whose content may not survive it either."""

    def _step(self) -> None:
        if self.crash_in is not None:
            self.crash_in -= 1
            if self.crash_in < 0:
                self.crash_in = None
                raise Crash

    def reserve(self, name: str) -> None:
        """Allocate the temporary file of the next replacement, if there is space."""
        self._step()
        if not self.full:
            self._reserved.add(name)

    def replace(self, name: str, text: str, *, durable: bool = True) -> None:
        """Replace a file as a whole, or raise OSError and leave the old one.

        Without *durable* the content is not synchronized before the rename.
        """
        folder, _, base = name.rpartition("/")
        temporary = f"{folder}/.{base}.next" if folder else f".{base}.next"
        self._step()
        self.files[temporary] = text[: len(text) // 2]
        self._step()
        if self.full and name not in self._reserved:
            del self.files[temporary]
            raise OSError("no space left on device")
        self.files[temporary] = text
        self._step()
        self._reserved.discard(name)
        self._unsynced.setdefault(name, self.files.get(name))
        self.files[name] = self.files.pop(temporary)
        (self._unwritten.discard if durable else self._unwritten.add)(name)
        self.on_change(name)
        self._step()

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""
        self._step()
        if self.files.pop(name, None) is not None:
            self.on_change(name)

    def put(self, name: str, text: str | None) -> None:
        """Exchange a file behind the daemon's back, durably."""
        self._unsynced.pop(name, None)
        if text is None:
            self.files.pop(name, None)
        else:
            self.files[name] = text
        self.on_change(name)

    def sync_content(self, name: str) -> None:
        """Make the content of a file durable."""
        self._step()
        self._unwritten.discard(name)

    def sync(self, folder: str) -> None:
        """Make the renames in *folder* durable."""
        self._step()
        for name in [name for name in self._unsynced if name.rpartition("/")[0] == folder]:
            del self._unsynced[name]

    def lose_power(self, rng: random.Random) -> None:
        """Undo some of the renames that are not durable yet, and tear what is not written."""
        for name, old in self._unsynced.items():
            if rng.random() < 0.5:
                self._put_back(name, old)
                self._unwritten.discard(name)
        for name in sorted(self._unwritten & self.files.keys()):
            self.files[name] = rng.choice([self.files[name][: rng.randrange(400)], ""])
        self._unsynced.clear()
        self._unwritten.clear()

    def _put_back(self, name: str, old: str | None) -> None:
        if old is None:
            self.files.pop(name, None)
        else:
            self.files[name] = old
        self.on_change(name)
