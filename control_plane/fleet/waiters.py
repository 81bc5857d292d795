"""Lets many callers wait for a change of something that has a key."""

from __future__ import annotations

import asyncio


class Waiters:
    """Callers that wait, by key; holding one costs a future, no task and no thread."""

    def __init__(self) -> None:
        self._waiting: dict[str, dict[asyncio.Future[None], None]] = {}

    async def wait(self, key: str, *, within_s: float) -> bool:
        """Wait for `wake` of *key*; return whether it came within *within_s* seconds."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        waiting = self._waiting.setdefault(key, {})
        waiting[future] = None
        timer = loop.call_later(within_s, _give_up, future)
        try:
            await future
        except TimeoutError:
            return False
        finally:
            timer.cancel()
            waiting.pop(future, None)
            if not waiting and self._waiting.get(key) is waiting:
                del self._waiting[key]
        return True

    def wake(self, key: str) -> None:
        """Let everybody go on who waits for *key*."""
        for future in self._waiting.pop(key, ()):
            if not future.done():
                future.set_result(None)


def _give_up(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_exception(TimeoutError())
