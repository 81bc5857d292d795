"""Makes the cluster before the first start of Postgres; `make` is called by its supervisor.

Each try uses the newest document: the refresh loop runs beside it, and a failed try asks it to look
again. A document that comes while a try waits for its turn ends the wait.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from msgspec import structs

from compute_common.system.blocking_worker import BlockingWorker
from compute_ctl.bootstrap.copy_out import Cancellation, CopyOut
from compute_ctl.bootstrap.data_directory import DataDirectory
from compute_ctl.bootstrap.origin import Origin
from compute_ctl.bootstrap.transfer import Transferred, transfer
from compute_ctl.decisions.backup_request import BackupRequest
from compute_ctl.decisions.status import ClusterPhase, ClusterView
from compute_ctl.errors import BackupError, PostgresError
from compute_ctl.ports import Clock
from compute_ctl.settings import Init

logger = logging.getLogger(__name__)
T = TypeVar("T")

FIRST_DELAY_S: Final = 0.5
FACTOR: Final = 1.5
NO_STORAGE: Final = "the document names no tenant, timeline and pageserver to take a backup from"


@dataclass(frozen=True, kw_only=True, slots=True)
class BackupPolicy:
    """How often a backup is tried, and the longest waits of one try in seconds."""

    tries: int = 11
    connect: float = 2.0
    stall: float = 30.0
    """The pageserver sends nothing."""
    stall_after_move: float = 1.0
    """The same, once the document names another one."""
    total: float = 3600.0
    """The transfer as a whole."""
    disk: float = 120.0  # work on the data directory alone


@dataclass(frozen=True, kw_only=True, slots=True)
class Means:
    """What the maker needs of others."""

    request: Callable[[], BackupRequest | None]
    """The newest document's; None: it names no such storage."""
    initdb: Callable[[Path], Awaitable[None]]
    """Makes a new cluster in an empty folder. Raises PostgresError."""
    sync_safekeepers: Callable[[], Awaitable[str | None]]
    """Returns where the safekeepers agree the log ends, None where the server's binary cannot tell.
    Raises BackupError."""
    safekeepers_agree: Callable[[BackupRequest], Awaitable[str | None]]
    """Returns where they agree already that the log ends, None where that is not known."""
    show: Callable[[ClusterView], None]  # the progress
    failed: Callable[[], None]
    """A try has failed: the document may be out of date."""


def delay_s(tries: int, random_number: float) -> float:
    """Return how long to wait after so many failed tries; *random_number* is from 0 to 1."""
    return FIRST_DELAY_S * FACTOR ** (tries - 1) * (0.5 + random_number / 2)


class ClusterMaker:
    """Makes the cluster of one data directory."""

    def __init__(
        self,
        *,
        directory: DataDirectory,
        init: Init,
        means: Means,
        clock: Clock,
        rng: random.Random,
        policy: BackupPolicy | None = None,
    ) -> None:
        self._directory = directory
        self._init = init
        self._means = means
        self._clock = clock
        self._rng = rng
        self._policy = policy or BackupPolicy()
        self._news = asyncio.Event()
        self._worker = BlockingWorker("cluster")
        """One thread, so that work that is given up is never overtaken by later work."""
        self._view = ClusterView(method="initdb", phase=ClusterPhase.INSTALL)
        self._synced: tuple[str, str | None] | None = None
        """The safekeepers that were synchronized, and where the log ends."""

    def document_changed(self) -> None:
        """Learn that there is another document; a try that waits for its turn begins."""
        self._news.set()

    async def make(self) -> Origin | None:
        """Make the cluster where that is to be done; return how, None where nothing was.

        Raises:
            PostgresError: it could not be made; what was there is there still.
        """
        try:
            await self._on_disk(self._directory.resume)
            origin = await self._on_disk(self._directory.origin)
            request = self._means.request()
            holds = self._directory.holds_cluster
            if self._init is Init.NONE or (holds and not self._renews(origin, request)):
                return None
            replaces = origin is not None and origin.is_replaceable
            if self._init is Init.INITDB or (self._init is Init.AUTO and request is None):
                return await self._make_new(replaces=replaces)
            return await self._back_up(replaces=replaces)
        except (BackupError, OSError, PostgresError) as error:
            reason = self._reason(error)
            with suppress(BackupError, OSError):
                await self._on_disk(self._directory.discard)
            self._show(phase=ClusterPhase.FAILED, error=reason)
            raise PostgresError(f"could not create the cluster: {reason}") from error

    def _renews(self, origin: Origin | None, request: BackupRequest | None) -> bool:
        made = origin is not None and origin.method == "basebackup"
        return made and self._init.renews and request is not None

    async def _make_new(self, *, replaces: bool) -> Origin:
        began = self._clock.monotonic()
        folder = await self._on_disk(self._directory.begin)
        await self._means.initdb(folder)
        origin = await self._install(Origin(method="initdb", **await self._facts(replaces)))
        logger.info("made a new cluster in %.1f s", self._clock.monotonic() - began)
        return origin

    async def _back_up(self, *, replaces: bool) -> Origin:
        tries = asked = 0
        while True:
            self._news.clear()
            tries += 1
            request = self._means.request()
            try:
                return await self._try(tries, request and request.at(asked), replaces=replaces)
            except BackupError as error:
                limit = self._policy.tries
                logger.warning("base backup: try %d of %d failed: %s", tries, limit, error)
                self._show(phase=ClusterPhase.WAITING, error=str(error))
                if tries == limit:
                    raise
            asked += 1
            others = request is not None and asked % request.servers != 0
            if not others:
                self._means.failed()
            if self._means.request() != request:
                asked = 0  # another document has come meanwhile
            elif not others:
                with suppress(TimeoutError):
                    async with asyncio.timeout(delay_s(tries, self._rng.random())):
                        await self._news.wait()

    async def _try(self, number: int, request: BackupRequest | None, *, replaces: bool) -> Origin:
        if request is None:
            raise BackupError(NO_STORAGE)
        self._view = ClusterView(
            method="basebackup", phase=ClusterPhase.SYNC_SAFEKEEPERS, tries=number
        )
        lsn = request.lsn or await self._sync(request)
        folder = await self._on_disk(self._directory.begin)
        source = CopyOut(
            request=request,
            cancellation=Cancellation(),
            connect_s=self._policy.connect,
            stall_s=self._policy.stall,
        )
        self._show(phase=ClusterPhase.CONNECT, pageserver=source.node, lsn=lsn)
        done = await self._transfer(source, request.command(lsn), folder)
        self._show(
            bytes=done.bytes,
            pageserver_connect_micros=round(done.connect_s * 1e6),
            basebackup_ms=round(done.transfer_s * 1e3, 3),
        )
        origin = await self._install(
            Origin(
                method="basebackup",
                tenant=request.tenant,
                timeline=request.timeline,
                lsn=lsn,
                pageserver=source.node,
                bytes=done.bytes,
                **await self._facts(replaces),
            )
        )
        logger.info(
            "took a base backup of %d bytes (%d unpacked) from pageserver %s: "
            "connect %.3f s, transfer %.3f s",
            *(done.bytes, done.unpacked_bytes, source.node, done.connect_s, done.transfer_s),
        )
        return origin

    async def _sync(self, request: BackupRequest) -> str | None:
        """Return where the safekeepers agree the log of a primary ends; asks each set once."""
        if not (request.is_primary and request.safekeepers):
            return None
        if self._synced is None or self._synced[0] != request.safekeepers:
            began = self._clock.monotonic()
            self._show()
            lsn = await self._means.safekeepers_agree(request)
            self._show(sync_sk_check_ms=self._ms_since(began))
            if lsn is None:
                began = self._clock.monotonic()
                lsn = await self._means.sync_safekeepers()
                self._show(sync_safekeepers_ms=self._ms_since(began))
            self._synced = request.safekeepers, lsn
        return self._synced[1]

    async def _transfer(self, source: CopyOut, command: str, folder: Path) -> Transferred:
        loop = asyncio.get_running_loop()

        def connected() -> None:
            loop.call_soon_threadsafe(lambda: self._show(phase=ClusterPhase.TRANSFER))

        def work() -> Transferred:
            try:
                return transfer(source, command, folder, on_connected=connected)
            finally:
                source.cancellation.close()

        limit = self._policy.total
        watch = asyncio.create_task(self._leave_if_moved(source), name="backup watch")
        try:
            return await self._worker.run(work, within_s=limit, queue=True)
        except TimeoutError:
            source.cancellation.set()
            raise BackupError(
                f"pageserver {source.node}: the backup did not end within {limit:g} s"
            ) from None
        except asyncio.CancelledError:
            source.cancellation.set()
            raise
        finally:
            watch.cancel()

    async def _leave_if_moved(self, source: CopyOut) -> None:
        """Cancel a transfer that does not go on, once the document names another pageserver.

        One that goes on is left alone: it may be all but done.
        """
        while True:
            await self._news.wait()
            self._news.clear()
            request = self._means.request()
            while request is not None and not request.names(source.request.server):
                received = source.received
                await asyncio.sleep(self._policy.stall_after_move)
                if source.received == received:
                    source.cancellation.set()
                    return
                request = self._means.request()

    async def _install(self, origin: Origin) -> Origin:
        """Move what was made into its place."""
        self._show(phase=ClusterPhase.INSTALL, method=origin.method)
        began = self._clock.monotonic()
        done = await self._on_disk(lambda: self._directory.install(origin))
        self._show(
            phase=ClusterPhase.COMPLETE, install_ms=self._ms_since(began), at=done.at, error=None
        )
        return done

    async def _facts(self, replaces: bool) -> dict[str, Any]:
        inode = await self._on_disk(lambda: self._directory.inode)
        return {"data_dir_inode": inode, "at": self._clock.wall(), "replaces": replaces}

    async def _on_disk(self, work: Callable[[], T]) -> T:
        limit = self._policy.disk
        try:
            return await self._worker.run(work, within_s=limit, queue=True)
        except TimeoutError:
            raise BackupError(f"the disk did not answer within {limit:g} s") from None

    def _show(self, **changes: Any) -> None:
        self._view = structs.replace(self._view, **changes)
        self._means.show(self._view)

    def _ms_since(self, began: float) -> float:
        return round((self._clock.monotonic() - began) * 1e3, 3)

    @staticmethod
    def _reason(error: BackupError | OSError | PostgresError) -> str:
        if not isinstance(error, OSError):
            return str(error)
        place = f'"{error.filename}": ' if error.filename else ""
        return f"{place}{error.strerror or error}"
