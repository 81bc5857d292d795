"""Blocking work in a thread that nobody has to wait for. A leaf.

A name lookup inside libpq or a write to a disk can hang for minutes. The threads of Python's own
executors are joined when the process ends; these are daemon threads, so what hangs in one cannot
keep the daemon alive.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from queue import SimpleQueue
from typing import Any, Final, Generic, TypeVar

from compute_ctl.errors import SpecError

logger = logging.getLogger(__name__)

T = TypeVar("T")

SMALL_BYTES: Final = 256 * 1024
"""A document of this size is read within some milliseconds."""
BESIDE_LOOP_S: Final = 30.0


async def in_thread(work: Callable[[], T], *, name: str, within_s: float) -> T:
    """Run *work* in a thread of its own; return its result, or raise what it raises.

    Where nobody waits any more, the result is dropped.

    Raises:
        TimeoutError: *work* has not ended within *within_s*; its thread goes on.
    """
    loop = asyncio.get_running_loop()
    reply: _Reply[T] = _Reply(loop, loop.create_future())
    threading.Thread(target=reply.run, args=(work,), name=name, daemon=True).start()
    async with asyncio.timeout(within_s):
        return await reply.answer


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
            logger.warning("no thread to read a document in")
    return work()


class DaemonExecutor(ThreadPoolExecutor):
    """An executor whose threads are not joined when the process ends.

    Work begins in the order in which it was submitted; with one thread, it ends in that order too.
    asyncio takes nothing but a ThreadPoolExecutor for its default one, hence the base class, of
    which only the interface is used.
    """

    def __init__(self, threads: int, *, name: str) -> None:
        super().__init__(max_workers=threads)  # starts none
        self._limit = threads
        self._name = name
        self._mutex = threading.Lock()
        self._jobs: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()
        self._running = self._free = 0
        self._closed = False

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Have *fn* called in one of the threads.

        Raises:
            RuntimeError: the executor is shut down, or the system has no thread for it.
        """
        future: Future[T] = Future()
        with self._mutex:
            if self._closed:
                raise RuntimeError("the executor is shut down")
            if self._free:
                self._free -= 1
            elif self._running < self._limit:
                self._start()
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
        del wait  # what hangs would hang the caller
        with self._mutex:
            self._closed = True
            while cancel_futures and not self._jobs.empty():
                if (job := self._jobs.get()) is not None:
                    job[0].cancel()
            for _ in range(self._running):
                self._jobs.put(None)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            future, call = job
            if future.set_running_or_notify_cancel():
                try:
                    result = call()
                except BaseException as error:  # noqa: BLE001 (whoever awaits it hears of it)
                    future.set_exception(error)
                else:
                    future.set_result(result)
            del job, future, call  # keep nothing alive while idle
            with self._mutex:
                self._free += 1


class BlockingWorker:
    """Room for one thread: what hangs in it keeps the next piece of work out."""

    def __init__(self) -> None:
        self._free = threading.Event()
        self._free.set()

    @property
    def free(self) -> bool:
        """Whether nobody works in it."""
        return self._free.is_set()

    async def run(self, work: Callable[[], T], *, name: str, within_s: float) -> T:
        """Run *work* as `in_thread` does.

        Raises:
            TimeoutError: *work* has not ended within *within_s*, or, with a message, an earlier
                one has not yet.
        """
        if not self.free:
            raise TimeoutError("an earlier run has not ended yet")

        def there() -> T:
            try:
                return work()
            finally:
                self._free.set()

        self._free.clear()
        try:
            return await in_thread(there, name=name, within_s=within_s)
        except RuntimeError:
            self._free.set()  # the system had no thread for it
            raise


class _Reply(Generic[T]):
    """Takes a thread's result to the loop, which may not want it any more."""

    def __init__(self, loop: asyncio.AbstractEventLoop, answer: asyncio.Future[T]) -> None:
        self.answer = answer
        self._loop = loop

    def run(self, work: Callable[[], T]) -> None:
        """Work, in the thread."""
        try:
            result = work()
        except Exception as error:  # noqa: BLE001 (whoever awaits it hears of it)
            self._tell(self._fail, error)
        else:
            self._tell(self._succeed, result)

    def _tell(self, how: Callable[..., None], what: object) -> None:
        try:
            self._loop.call_soon_threadsafe(how, what)
        except RuntimeError:
            return  # the loop is closed: nobody waits

    def _succeed(self, result: T) -> None:
        if not self.answer.done():
            self.answer.set_result(result)

    def _fail(self, error: Exception) -> None:
        if not self.answer.done():
            self.answer.set_exception(error)


def exit_within(seconds: float, code: Callable[[], int]) -> None:
    """End the process with *code* if it has not ended by itself within *seconds*.

    For an orderly end that hangs, on a disk say. Everything on disk is safe against it, as against
    kill -9.
    """

    def leave() -> None:
        logger.critical("the daemon has not ended within %g s: exiting without waiting", seconds)
        os._exit(code())

    timer = threading.Timer(seconds, leave)
    timer.name, timer.daemon = "exit", True
    timer.start()
