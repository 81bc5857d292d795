"""The store in an SQLite file, for one control plane."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from compute_common.errors import SettingsError
from compute_common.system.blocking_worker import BlockingWorker
from control_plane.errors import StoreError
from control_plane.ports import Commit, Entry, Write
from control_plane.store.commit_log import CommitLog
from control_plane.store.database import Database, Outcome
from control_plane.store.leases import Leases

logger = logging.getLogger(__name__)

ANSWER_S: Final = 10.0
"""A disk that takes longer counts as failed; what it was told to do may still happen."""
CLOSE_S: Final = 5.0
ANSWERS: Final = 64
"""Commits that are answered before other tasks run again."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Request:
    """A commit that was asked for."""

    writes: Sequence[Write]
    done: asyncio.Future[int]


class SqliteStore:
    """A `ports.Store` in an SQLite file.

    One thread reads and writes it. Commits that come in while it is busy share the next
    transaction, so that they wait for the disk once.
    """

    def __init__(self, database: Database, worker: BlockingWorker) -> None:
        """*worker*: the one thread that has opened *database*."""
        self._database = database
        self._worker = worker
        self._log = CommitLog(database.revision)
        self._leases = Leases()
        self._waiting: list[_Request] = []
        self._writer: asyncio.Task[None] | None = None
        self._closed = False

    @classmethod
    async def open(cls, path: Path) -> SqliteStore:
        """Open the file *path*, or create it.

        Raises:
            SettingsError: it cannot be used: missing folder, no permission, read-only or full
                disk, damaged, of a newer version, or in use by another process.
        """
        worker = BlockingWorker("store", idle_s=None)
        try:
            database = await worker.run(partial(Database, path), within_s=ANSWER_S)
        except BaseException as error:
            worker.shutdown()
            if isinstance(error, TimeoutError):
                raise SettingsError(f'store "{path}" was not opened in {ANSWER_S:g} s') from None
            raise
        return cls(database, worker)

    async def load(self, prefix: str = "") -> tuple[int, list[Entry]]:
        """Return revision and entries; see `ports.Store`."""
        self._require_open()
        try:
            return await self._worker.run(
                partial(self._database.load, prefix), within_s=ANSWER_S, queue=True
            )
        except TimeoutError:
            raise StoreError(f"the store was not read within {ANSWER_S:g} s") from None

    async def commit(self, writes: Sequence[Write]) -> int:
        """Make all *writes* or none; see `ports.Store`."""
        self._require_open()
        request = _Request(writes=tuple(writes), done=asyncio.get_running_loop().create_future())
        self._waiting.append(request)
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write(), name="store writer")
        try:
            async with asyncio.timeout(ANSWER_S):
                return await request.done
        except TimeoutError:
            raise self._too_slow(request) from None

    def _too_slow(self, request: _Request) -> StoreError:
        message = f"the store has not answered within {ANSWER_S:g} s"
        if request in self._waiting:
            self._waiting.remove(request)
            return StoreError(f"{message}: nothing was written")
        return StoreError(f"{message}: it is not known whether it was written")

    async def _write(self) -> None:
        """Commit what is waiting until nothing is; its callers have the deadlines."""
        loop = asyncio.get_running_loop()
        while self._waiting or self._database.checkpoint_due:
            group, self._waiting = self._waiting, []
            try:
                if not group:
                    await loop.run_in_executor(self._worker, self._database.checkpoint)
                    continue
                commits = [request.writes for request in group]
                outcomes = await loop.run_in_executor(self._worker, self._database.commit, commits)
            except StoreError as error:  # nothing is lost without a checkpoint
                logger.warning("%s", error)
                continue
            except Exception as error:
                logger.exception("unhandled exception in the store")
                outcomes = [StoreError(f"the store failed: {error}")] * len(group)
            for number, (request, outcome) in enumerate(zip(group, outcomes, strict=True), 1):
                self._answer(request, outcome)
                if not number % ANSWERS:
                    await asyncio.sleep(0)  # watchers read them before the log drops them

    def _answer(self, request: _Request, outcome: Outcome) -> None:
        if isinstance(outcome, Commit):
            self._log.append(outcome)
        if request.done.done():
            return  # its caller has given up
        if isinstance(outcome, Commit):
            request.done.set_result(outcome.revision)
        else:
            request.done.set_exception(outcome)

    def watch(self, after: int) -> AsyncGenerator[Commit, None]:
        """Yield the commits after a revision until the store is closed; see `ports.Store`."""
        return self._log.watch(after)

    async def hold_lease(self, name: str, *, holder: str, ttl_s: float) -> bool:
        """Take or renew a lease. It ends with this process, as no other can open the file."""
        self._require_open()
        return self._leases.hold(name, holder=holder, ttl_s=ttl_s)

    async def release_lease(self, name: str, *, holder: str) -> None:
        """Give up a lease."""
        self._require_open()
        self._leases.release(name, holder=holder)

    async def close(self) -> None:
        """End all watches, make the commits that wait, and close the file."""
        if self._closed:
            return
        self._closed = True
        self._log.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_S):
                if self._writer is not None:
                    await self._writer
                await self._worker.run(self._database.close, within_s=CLOSE_S, queue=True)
        self._worker.shutdown()

    def _require_open(self) -> None:
        if self._closed:
            raise StoreError("the store is closed")
