"""The pages of a PostgreSQL data directory, read from its files at the moment of the request.

Read-only and without a cache: what the server has not flushed (CHECKPOINT) is not seen. Blocking
reads of a local file, which the event loop can afford. Raises StoreError where the reference cannot
reconstruct a page.
"""

import os
import re
from contextlib import suppress
from pathlib import Path

from devstack.pageserver.messages import BLOCK_SIZE, FSM_FORK, INIT_FORK, MAIN_FORK, VM_FORK, Rel

DEFAULT_TABLESPACE = 1663
GLOBAL_TABLESPACE = 1664
SEGMENT_BLOCKS = 131_072  # 1 GiB files
ZERO_PAGE = bytes(BLOCK_SIZE)
_FORK_SUFFIX = {MAIN_FORK: "", FSM_FORK: "_fsm", VM_FORK: "_vm", INIT_FORK: "_init"}
_RELATION_FILE = re.compile(r"\d+(_fsm|_vm|_init)?(\.\d+)?")
_SLRU_FOLDERS = {0: "pg_xact", 1: "pg_multixact/members", 2: "pg_multixact/offsets"}


class StoreError(Exception):
    """The page cannot be read."""


class PageStore:
    """Reads relations and SLRU segments below one data directory."""

    def __init__(self, pgdata: Path) -> None:
        self._pgdata = pgdata

    @property
    def pgdata(self) -> Path:
        """The data directory."""
        return self._pgdata

    def exists(self, rel: Rel) -> bool:
        """Whether the fork exists. Raises StoreError for file number 0."""
        return self._path(rel).exists()

    def nblocks(self, rel: Rel) -> int:
        """Length of the fork in blocks; a missing fsm or vm has none."""
        first = self._path(rel)
        if not first.exists():
            if rel.forknum in (FSM_FORK, VM_FORK):
                return 0
            raise StoreError(f"no file {first}")
        blocks = 0
        for number in range(1 << 32):
            segment = _segment(first, number)
            size = _file_size(segment)
            blocks += size // BLOCK_SIZE
            if size < SEGMENT_BLOCKS * BLOCK_SIZE:
                break
        return blocks

    def page(self, rel: Rel, blkno: int) -> bytes:
        """One page. Beyond the end of an existing fork it is all zeros, as from the reference."""
        number, block = divmod(blkno, SEGMENT_BLOCKS)
        try:
            data = _read_block(_segment(self._path(rel), number), block)
        except FileNotFoundError:
            data = b""
        except OSError as error:
            raise StoreError(str(error)) from error
        if len(data) == BLOCK_SIZE:
            return data
        self.nblocks(rel)  # raises where there is no such fork
        return ZERO_PAGE

    def db_size(self, dbnode: int) -> int:
        """Bytes of all relation forks of a database in the default tablespace."""
        folder = self._pgdata / "base" / str(dbnode)
        if not folder.is_dir():
            raise StoreError(f"no folder {folder}")
        blocks = 0
        for path in folder.iterdir():
            if _RELATION_FILE.fullmatch(path.name):
                blocks += _file_size(path) // BLOCK_SIZE
        return blocks * BLOCK_SIZE

    def slru_segment(self, kind: int, segno: int) -> bytes:
        """The whole blocks of one SLRU segment. `kind`: 0 clog, 1 members, 2 offsets."""
        path = self._pgdata / _SLRU_FOLDERS[kind] / f"{segno:04X}"
        try:
            data = path.read_bytes()
        except OSError as error:
            raise StoreError(str(error)) from error
        return data[: len(data) // BLOCK_SIZE * BLOCK_SIZE]

    def _path(self, rel: Rel) -> Path:
        suffix = _FORK_SUFFIX.get(rel.forknum)
        if rel.relnode == 0 or suffix is None:
            raise StoreError("invalid relnode")
        return self._folder(rel) / f"{rel.relnode}{suffix}"

    def _folder(self, rel: Rel) -> Path:
        if rel.spcnode == GLOBAL_TABLESPACE:
            return self._pgdata / "global"
        if rel.spcnode == DEFAULT_TABLESPACE:
            return self._pgdata / "base" / str(rel.dbnode)
        space = self._pgdata / "pg_tblspc" / str(rel.spcnode)
        with suppress(OSError):
            for version in sorted(space.glob("PG_*")):
                return version / str(rel.dbnode)
        raise StoreError(f"no tablespace {rel.spcnode}")


def _segment(first: Path, number: int) -> Path:
    return first.with_name(f"{first.name}.{number}") if number else first


def _file_size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _read_block(path: Path, block: int) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.pread(descriptor, BLOCK_SIZE, block * BLOCK_SIZE)
    finally:
        os.close(descriptor)
