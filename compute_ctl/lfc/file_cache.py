"""Prewarms and offloads the file cache: when asked, after a start, and at intervals.

One prewarm and one offload at a time. Neither is ever waited for: a heal has nothing to do with it,
and what is done unasked waits until nothing else is wanted of the server.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final, TypeVar

from compute_common.document.spec import ComputeSpec
from compute_common.errors import RequestError
from compute_common.redact import redact
from compute_common.system.blocking_worker import BlockingWorker
from compute_ctl.decisions.file_cache import CacheStatus, OffloadState, PrewarmState
from compute_ctl.errors import FileCacheError, ProbeError
from compute_ctl.lfc.compression import compress, decompress
from compute_ctl.lfc.functions import LOOK_S, PREWARM_S, READ_S, CacheFunctions
from compute_ctl.lfc.storage import EndpointStorage

logger = logging.getLogger(__name__)
T = TypeVar("T")

MARGIN_S: Final = 5.0
"""For a name lookup, which nothing else bounds."""
COMPRESS_S: Final = 30.0
TICK_S: Final = 1.0
FAILURES: Final = (FileCacheError, ProbeError, TimeoutError, RuntimeError)
"""The last: no thread."""


@dataclass(kw_only=True, eq=False)
class FileCache:
    """The file cache of one server; `run` is the task, in which all work is done."""

    functions: CacheFunctions
    spec: Callable[[], ComputeSpec | None]
    """Of the newest accepted document."""
    server: Callable[[], int | None]
    """Process id of the server, None where it accepts no connections."""
    quiet: Callable[[], bool]
    """Whether nothing more important is wanted of the server."""
    on_start: Callable[[str], None] = lambda _what: None
    on_failure: Callable[[str], None] = lambda _what: None
    """Given ``prewarm`` or ``offload``."""
    prewarm: PrewarmState = field(default_factory=PrewarmState, init=False)
    offload: OffloadState = field(default_factory=OffloadState, init=False)
    _group: asyncio.TaskGroup | None = field(default=None, init=False)
    _prewarming: asyncio.Task[None] | None = field(default=None, init=False)
    _said: str = field(default="", init=False)
    _worker: BlockingWorker = field(
        default_factory=lambda: BlockingWorker("file cache", threads=4), init=False
    )

    async def run(self) -> None:
        """Do what the document wants without being asked, until cancelled."""
        clock, seen, offloaded_at = asyncio.get_running_loop().time, self.server(), 0.0
        async with asyncio.TaskGroup() as group:
            self._group = group
            while True:
                await asyncio.sleep(TICK_S)
                spec, server, now = self.spec(), self.server(), clock()
                if spec is None or server is None or not self.quiet():
                    continue
                if not offloaded_at or server != seen:
                    offloaded_at = now
                if server != seen and spec.autoprewarm:
                    await self._unasked(self.start_prewarm())
                seen, every_s = server, spec.offload_lfc_interval_seconds
                if every_s is not None and now - offloaded_at >= every_s:
                    offloaded_at = now
                    await self._unasked(self.start_offload())

    async def _unasked(self, start: Awaitable[None]) -> None:
        try:
            await start
        except RequestError as error:
            if str(error) != self._said:
                logger.warning("the file cache is not kept: %s", error)
            self._said = str(error)

    def require(self) -> None:
        """Check that the document names a storage. Raises RequestError: 501."""
        EndpointStorage.of(self.spec())

    async def start_prewarm(self, from_endpoint: str | None = None) -> None:
        """Begin to load the state that this endpoint, or another one of the timeline, has kept.

        Raises:
            RequestError: 501 no storage, or no such functions; 503 no server; 429 one is under way.
        """
        storage, group = await self._ready(from_endpoint)
        if self.prewarm.status is CacheStatus.PREWARMING:
            raise RequestError(429, "Multiple requests for prewarm are not allowed")
        self.prewarm = PrewarmState(status=CacheStatus.PREWARMING)
        self.on_start("prewarm")
        self._prewarming = group.create_task(self._prewarm(storage), name="prewarm")

    def cancel_prewarm(self) -> None:
        """End the prewarm that is under way, if there is one. Raises RequestError: 501."""
        self.require()
        if self._prewarming is not None and self.prewarm.status is CacheStatus.PREWARMING:
            self.prewarm = PrewarmState(status=CacheStatus.CANCELLED)
            self._prewarming.cancel()

    async def start_offload(self) -> None:
        """Begin to keep the state of the cache.

        Raises:
            RequestError: as `start_prewarm`.
        """
        storage, group = await self._ready(None)
        if self.offload.status is CacheStatus.OFFLOADING:
            raise RequestError(429, "Multiple requests for prewarm offload are not allowed")
        self.offload = OffloadState(status=CacheStatus.OFFLOADING)
        self.on_start("offload")
        group.create_task(self._offload(storage), name="offload")

    async def _ready(self, endpoint: str | None) -> tuple[EndpointStorage, asyncio.TaskGroup]:
        storage = EndpointStorage.of(self.spec(), endpoint)
        if self._group is None or self.server() is None:
            raise RequestError(503, "postgres does not accept connections")
        try:
            missing = await self._call(self.functions.missing, LOOK_S)
        except FAILURES as error:
            raise RequestError(503, redact(str(error)) or "postgres did not answer") from error
        if missing is not None:
            raise RequestError(501, f"the server has no function neon.{missing}")
        return storage, self._group

    async def _prewarm(self, storage: EndpointStorage) -> None:
        try:
            self.prewarm = await self._load(storage)
        except FAILURES as error:
            reason = self._failed("prewarm", error)
            self.prewarm = PrewarmState(status=CacheStatus.FAILED, error=reason)

    async def _load(self, storage: EndpointStorage) -> PrewarmState:
        watch = _Watch()
        raw = await storage.get()
        if raw is None:
            return PrewarmState(status=CacheStatus.SKIPPED)
        downloaded = watch.lap_ms()
        state = await self._call(lambda: decompress(raw), COMPRESS_S)
        uncompressed = watch.lap_ms()
        total, prewarmed, skipped = await self._prewarm_server(state)
        logger.info("prewarmed %d of %d pages of the file cache", prewarmed, total)
        return PrewarmState(
            status=CacheStatus.COMPLETED,
            total=total,
            prewarmed=prewarmed,
            skipped=skipped,
            state_download_time_ms=downloaded,
            uncompress_time_ms=uncompressed,
            prewarm_time_ms=watch.lap_ms(),
        )

    async def _prewarm_server(self, state: bytes) -> tuple[int, int, int]:
        prewarming = self.functions.prewarming()
        try:
            return await self._call(lambda: prewarming.run(state), PREWARM_S)
        except asyncio.CancelledError:
            self._worker.submit(prewarming.cancel)
            raise

    async def _offload(self, storage: EndpointStorage) -> None:
        try:
            self.offload = await self._keep(storage)
        except FAILURES as error:
            reason = self._failed("offload", error)
            self.offload = OffloadState(status=CacheStatus.FAILED, error=reason)

    async def _keep(self, storage: EndpointStorage) -> OffloadState:
        watch = _Watch()
        state = await self._call(self.functions.read, READ_S)
        if state is None:
            return OffloadState(status=CacheStatus.SKIPPED)
        read = watch.lap_ms()
        raw = await self._call(lambda: compress(state), COMPRESS_S)
        compressed = watch.lap_ms()
        await storage.put(raw)
        logger.info("kept the state of the file cache, %d bytes", len(raw))
        return OffloadState(
            status=CacheStatus.COMPLETED,
            state_query_time_ms=read,
            compress_time_ms=compressed,
            state_upload_time_ms=watch.lap_ms(),
        )

    def _failed(self, what: str, error: Exception) -> str:
        reason = redact(str(error)) or "no answer in time"
        logger.error("%s of the file cache failed: %s", what, reason)
        self.on_failure(what)
        return reason

    async def _call(self, work: Callable[[], T], within_s: float) -> T:
        return await self._worker.run(work, within_s=within_s + MARGIN_S, queue=True)


class _Watch:
    """Measures one step after the other."""

    def __init__(self) -> None:
        self._clock = asyncio.get_running_loop().time
        self._at = self._clock()

    def lap_ms(self) -> int:
        """Return the milliseconds since the last call."""
        before, self._at = self._at, self._clock()
        return round((self._at - before) * 1000)
