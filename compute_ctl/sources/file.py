"""The source that is a file (`-c`): read again at each refresh.

The file is written by somebody else, perhaps in place, so what is read may be half a document:
that is a `FetchError`, and the next fetch may succeed. The etag is the hash of the bytes.

A file that Kubernetes keeps up to date is never half written, and nobody on the machine says that
it has changed, so it is watched.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from dataclasses import replace
from pathlib import Path
from typing import Final

import msgspec

from compute_common.document.document import MAX_DOCUMENT_BYTES
from compute_common.document.json_text import malformed
from compute_common.system.atomic_file import read_regular
from compute_common.system.blocking_worker import BlockingWorker, beside_loop
from compute_ctl.errors import FetchError
from compute_ctl.ports import Fetched, FetchStatus
from compute_ctl.sources.config_map import RenameWatch, is_projected

MAX_BYTES: Final = MAX_DOCUMENT_BYTES
READ_TIMEOUT_S: Final = 10.0
"""A file on a hung network file system must not hold the daemon up."""

_log = logging.getLogger(__name__)


class FileSource:
    """Documents from one file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._worker = BlockingWorker("file")
        self._reading: asyncio.Task[bytes] | None = None
        """The last read. A fetch that is given up, for a push say, leaves it to end by itself."""
        self._projected = False
        """Whether Kubernetes keeps the file up to date, as the last read has found."""
        self._found: str | None = None
        """Hash of what was read last: a broken document is read again and again."""

    @property
    def name(self) -> str:
        """``file``."""
        return "file"

    async def fetch(self, *, etag: str | None = None, wait_s: int | None = None) -> Fetched:
        """Read the file. *wait_s* counts where Kubernetes keeps it up to date, and nowhere else.

        Raises:
            FetchError: unreadable, too big, or no JSON.
        """
        if wait_s is None or not self._projected:
            return replace(await self._look(etag), invites=self._projected)
        try:
            async with asyncio.timeout(wait_s):
                return replace(await self._watch(etag), long_polled=True, invites=True)
        except TimeoutError:
            unchanged = FetchStatus.NOT_MODIFIED
            return Fetched(status=unchanged, etag=etag, long_polled=True, invites=True)

    async def _watch(self, etag: str | None) -> Fetched:
        """Return what the file holds as soon as that is not *etag* any more."""
        try:
            watch = RenameWatch(self._path.parent)
        except OSError as error:
            raise FetchError(f'could not watch file "{self._path}": {error.strerror}') from error
        with watch:  # begun before the first look, so that nothing is missed
            while (fetched := await self._look(etag)).status is FetchStatus.NOT_MODIFIED:
                await watch.wait()
            return fetched

    async def _look(self, etag: str | None) -> Fetched:
        try:
            async with asyncio.timeout(READ_TIMEOUT_S):
                raw = await self._read_anew()
        except (TimeoutError, RuntimeError) as error:  # the latter: no thread to be had
            reason = str(error) or f"no answer within {READ_TIMEOUT_S:g} s"
            raise FetchError(f'could not read file "{self._path}": {reason}') from error
        found = hashlib.sha256(raw).hexdigest()
        if found == etag:
            return Fetched(status=FetchStatus.NOT_MODIFIED, etag=found)
        if found != self._found:
            _log.info("reloading config.json from path: %s", self._path)
        self._found = found
        if await beside_loop(lambda: self._is_empty(raw), size=len(raw), name="file"):
            return Fetched(status=FetchStatus.EMPTY, etag=found)
        return Fetched(status=FetchStatus.ATTACHED, raw=raw, etag=found)

    async def _read_anew(self) -> bytes:
        """Read after whatever an earlier fetch still reads: that may be older than the request."""
        while self._reading is not None and not self._reading.done():
            await asyncio.wait({self._reading})
        self._reading = asyncio.create_task(
            self._worker.run(self._read, within_s=READ_TIMEOUT_S), name="file"
        )
        self._reading.add_done_callback(_retrieve)
        return await asyncio.shield(self._reading)

    def _read(self) -> bytes:
        try:
            self._projected = is_projected(self._path)
            return read_regular(self._path, max_bytes=MAX_BYTES)
        except OSError as error:
            raise FetchError(
                f'could not read file "{self._path}": {error.strerror or error}'
            ) from error

    def _is_empty(self, raw: bytes) -> bool:
        """Return whether the document says that this compute has no spec."""
        try:
            document = msgspec.json.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            found = malformed(raw, error)
            raise FetchError(f'file "{self._path}" is not valid JSON: {found}') from error
        return isinstance(document, dict) and "spec" in document and document["spec"] is None


def _retrieve(task: asyncio.Task[bytes]) -> None:
    """Retrieve the exception of a read that nobody awaits, so that asyncio does not log it."""
    if not task.cancelled():
        task.exception()
