"""Blocking work in a thread that nobody has to wait for. A leaf.

A name lookup inside libpq can hang for minutes. The executor's threads of asyncio are joined when
the process ends; these are daemon threads, so what hangs in one cannot keep the daemon alive.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


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


class Room:
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
