"""Blocking work in daemon threads: the only way in which the daemon runs it. A leaf.

A name lookup inside libpq or a write to a disk can hang for minutes. Python joins the threads of
its own executors when the process ends; these are daemon threads, so a call that hangs cannot keep
the daemon alive.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, Final, TypeVar

from compute_common.errors import SpecError

logger = logging.getLogger(__name__)

T = TypeVar("T")

IDLE_S: Final = 5.0
"""A thread ends after this time without work, so that idle workers cost no memory."""
SMALL_BYTES: Final = 256 * 1024
"""A document of this size is read within some milliseconds."""
BESIDE_LOOP_S: Final = 30.0


class BlockingWorker(ThreadPoolExecutor):
    """Runs blocking calls in up to *threads* daemon threads, named after *name*.

    Calls begin in the order of submission; with one thread they also end in it. The base class
    provides the interface only, since asyncio accepts nothing else as its default executor.
    """

    def __init__(self, name: str, *, threads: int = 1, idle_s: float | None = IDLE_S) -> None:
        """*idle_s*: an idle thread ends after that time; None keeps it."""
        super().__init__(max_workers=threads)  # starts none
        self._limit = threads
        self._name = name
        self._idle_s = idle_s
        self._mutex = threading.Lock()
        self._jobs: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()
        self._running = 0
        """Threads."""
        self._unfinished = 0
        """Calls that wait or run."""
        self._closed = False

    @property
    def busy(self) -> bool:
        """Whether a further call would have to wait."""
        return self._unfinished >= self._limit

    async def run(self, work: Callable[[], T], *, within_s: float, queue: bool = False) -> T:
        """Return the result of *work*, or raise what it raises.

        *queue*: wait until earlier calls have ended, within the same time; else a busy worker
        refuses. Without a caller that waits, the result is dropped.

        Raises:
            TimeoutError: *work* has not ended within *within_s*, its thread goes on; or, with a
                message, the worker is busy.
            RuntimeError: the system has no thread.
        """
        if self.busy and not queue:
            raise TimeoutError("an earlier run has not ended yet")
        job = asyncio.get_running_loop().run_in_executor(self, work)  # a simulated loop has its own
        try:
            async with asyncio.timeout(within_s):
                return await job
        except TimeoutError:
            if job.done() and not job.cancelled():
                return job.result()  # the event loop was late, not the work
            raise

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Have *fn* called in one of the threads.

        Raises:
            RuntimeError: the worker is shut down, or the system has no thread for it.
        """
        future: Future[T] = Future()
        with self._mutex:
            if self._closed:
                raise RuntimeError("the worker is shut down")
            if self._running <= self._unfinished and self._running < self._limit:
                self._start()
            self._unfinished += 1
            self._jobs.put((future, partial(fn, *args, **kwargs)))
        return future

    def _start(self) -> None:
        name = f"{self._name}-{self._running}" if self._limit > 1 else self._name
        try:
            threading.Thread(target=self._work, name=name, daemon=True).start()
        except RuntimeError:
            if not self._running:
                raise
        else:
            self._running += 1

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more work, and let the threads end after theirs; never waits for them.

        *cancel_futures*: what has not begun is dropped.
        """
        del wait  # a call that hangs would hang the caller
        with self._mutex:
            self._closed = True
            while cancel_futures and not self._jobs.empty():
                if (job := self._jobs.get()) is not None:
                    job[0].cancel()
            for _ in range(self._running):
                self._jobs.put(None)

    def _work(self) -> None:
        while (job := self._next()) is not None:
            future, call = job
            result = error = None
            begins = future.set_running_or_notify_cancel()
            if begins:
                try:
                    result = call()
                except BaseException as raised:  # noqa: BLE001 (raised again by whoever awaits it)
                    error = raised
            with self._mutex:  # before the caller knows, who may have more work
                self._unfinished -= 1
            if error is not None:
                future.set_exception(error)
            elif begins:
                future.set_result(result)
            del job, future, call, result, error  # keep nothing alive while idle

    def _next(self) -> tuple[Future[Any], Callable[[], Any]] | None:
        """Return the next call; None: this thread is to end."""
        with suppress(Empty):
            return self._jobs.get(timeout=self._idle_s)
        with self._mutex:
            try:
                return self._jobs.get_nowait()  # it came in just now, and counts on this thread
            except Empty:
                self._running -= 1
        return None


async def in_thread(work: Callable[[], T], *, name: str, within_s: float) -> T:
    """Run *work* as `BlockingWorker.run` does, in a thread of its own."""
    worker = BlockingWorker(name)
    try:
        return await worker.run(work, within_s=within_s)
    finally:
        worker.shutdown()


async def beside_loop(work: Callable[[], T], *, size: int, name: str) -> T:
    """Run *work* on a document of *size* bytes; in a thread where it would hold up the loop.

    Raises:
        SpecError: it has not ended within `BESIDE_LOOP_S`.
    """
    if size > SMALL_BYTES:
        try:
            return await in_thread(work, name=name, within_s=BESIDE_LOOP_S)
        except TimeoutError:
            raise SpecError("", f"not read within {BESIDE_LOOP_S:g} s") from None
        except RuntimeError:
            logger.warning(
                "could not start a thread to read a document, reading it in the event loop"
            )
    return work()


def exit_within(seconds: float, code: Callable[[], int]) -> None:
    """End the process with *code* if it has not ended by itself within *seconds*.

    For an orderly end that hangs, for example on a disk. The files are as safe as after kill -9.
    """

    def leave() -> None:
        logger.critical("the daemon has not ended within %g s: exiting without waiting", seconds)
        os._exit(code())

    timer = threading.Timer(seconds, leave)
    timer.name, timer.daemon = "exit", True
    timer.start()
