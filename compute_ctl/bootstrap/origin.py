"""Where the cluster came from: `cluster.json` in the state folder.

It is the daemon's own word that it made the data directory; without it no file there is removed.
"""

from __future__ import annotations

import logging
from datetime import datetime
from pathlib import Path
from typing import Final, Literal

import msgspec

from compute_common.system.atomic_file import ReplacedFile, read_regular

logger = logging.getLogger(__name__)

NAME: Final = "cluster.json"
MAX_BYTES: Final = 1 << 20


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """How the cluster in a data directory was made."""

    data_dir_inode: str
    """``device:inode`` of that directory; of another one this says nothing."""
    method: Literal["initdb", "basebackup"]
    at: datetime
    complete: bool = False
    """Whether everything is in its place; else `names` are being moved there."""
    names: tuple[str, ...] = ()
    """The files and folders at the top."""
    replaces: bool = False
    """They replace a cluster that was made from a backup, too."""
    tenant: str | None = None
    timeline: str | None = None
    lsn: str | None = None
    pageserver: str | None = None
    bytes: int = 0

    @property
    def is_replaceable(self) -> bool:
        """Whether nothing is lost with it: its pages are elsewhere, or no server ran on it yet."""
        return self.method == "basebackup" or not self.complete


class OriginFile:
    """Reads and replaces it; methods block on the disk and raise plain OSError."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME
        self._file = ReplacedFile(self._path, reserve_bytes=0)

    def load(self, data_dir_inode: str) -> Origin | None:
        """Return what is known of the data directory with this identity."""
        try:
            raw = read_regular(self._path, max_bytes=MAX_BYTES, follow=False)
            found = msgspec.json.decode(raw, type=Origin)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
            logger.warning('could not read file "%s": %s', self._path, error)
            return None
        return found if found.data_dir_inode == data_dir_inode else None

    def save(self, origin: Origin) -> None:
        """Replace it durably."""
        self._file.replace(msgspec.json.format(msgspec.json.encode(origin)) + b"\n")
        self._file.sync()
