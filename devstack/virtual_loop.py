"""An asyncio event loop in which time is a number, and threads are entries in a queue.

Waiting costs nothing: where the loop would sleep, its clock jumps to the next timer. A function for
an executor runs in the loop's own thread, at the end of the time it is made to take; each executor
does one thing after the other, as the daemon's file thread does. Nothing here depends on the
machine, so the same calls come in the same order in every run.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from heapq import heappop
from typing import Any

START = 1000.0
"""The first moment of every run, in seconds of the monotonic clock."""
STEP_S = 1e-6
"""What a turn of the loop takes: who waits for a moment must see it come."""


class DeadlockError(AssertionError):
    """Nobody will ever do anything again."""


class Crash(BaseException):
    """The simulated process is killed inside a call of one of its threads."""


class VirtualLoop(asyncio.BaseEventLoop):
    """The loop; `after_step` is called whenever all that was ready has run."""

    def __init__(self) -> None:
        super().__init__()
        self.now = START
        self.step_s = STEP_S
        self.steps = 0
        self.after_step: Callable[[], None] = lambda: None
        self.job_time: Callable[[], float] = lambda: 0.0
        """How long the next call of a thread takes, in seconds."""
        self.on_crash: Callable[[], None] = lambda: None
        self._threads: dict[int, _Thread] = {}
        # asyncio's own queues: private, but there since Python 3.4.
        self._ready: deque[asyncio.Handle]
        self._scheduled: list[asyncio.TimerHandle]
        self._stopping: bool

    def time(self) -> float:
        """Return the virtual time."""
        return self.now

    def _run_once(self) -> None:
        """Run all that is ready; where nothing is, jump to the next timer. A step."""
        ready, scheduled = self._ready, self._scheduled
        while scheduled and scheduled[0].cancelled():
            heappop(scheduled)
        if not ready and not self._stopping:
            if not scheduled:
                raise DeadlockError("everybody waits, and no timer is set")
            self.now = max(self.now, scheduled[0].when())
        self.now += self.step_s
        while scheduled and scheduled[0].when() <= self.now:
            timer = heappop(scheduled)
            if not timer.cancelled():
                ready.append(timer)
        for _ in range(len(ready)):
            handle = ready.popleft()
            if not handle.cancelled():
                handle._run()  # noqa: SLF001 (what asyncio's own loop calls)
        self.steps += 1
        self.after_step()

    def _timer_handle_cancelled(self, _timer: asyncio.TimerHandle) -> None:
        """Do nothing: a cancelled timer is passed over when its time has come."""

    def _write_to_self(self) -> None:
        """Do nothing: there are no other threads."""

    def run_in_executor(  # type: ignore[override]  # ours returns the loop's own future
        self, executor: Any, func: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        """Queue *func* for the thread that stands for *executor*."""
        future: asyncio.Future[Any] = self.create_future()
        thread = self._threads.setdefault(id(executor), _Thread(self))
        thread.add(future, lambda: func(*args))
        return future

    def kill_threads(self, *, finish_call: bool) -> None:
        """Forget all queued calls; the running ones may still have their effect."""
        threads, self._threads = self._threads, {}
        for thread in threads.values():
            thread.kill(finish_call=finish_call)


class _Thread:
    """One simulated thread: calls run one after the other."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop
        self._queue: deque[tuple[asyncio.Future[Any], Callable[[], Any]]] = deque()
        self._busy: tuple[asyncio.Future[Any], Callable[[], Any]] | None = None

    def add(self, future: asyncio.Future[Any], call: Callable[[], Any]) -> None:
        """Queue a call."""
        self._queue.append((future, call))
        if self._busy is None:
            self._next()

    def _next(self) -> None:
        self._busy = None
        while self._queue:
            future, call = self._queue.popleft()
            if not future.cancelled():  # a call that has begun cannot be cancelled any more
                self._busy = (future, call)
                self._loop.call_later(self._loop.job_time(), self._finish, self._busy)
                return

    def _finish(self, job: tuple[asyncio.Future[Any], Callable[[], Any]]) -> None:
        if job is not self._busy:
            return  # its process was killed
        future, call = job
        try:
            result = call()
        except Crash:
            self._busy = None
            self._loop.on_crash()
            return
        except Exception as error:  # noqa: BLE001 (it belongs to whoever waits)
            if not future.done():
                future.set_exception(error)
        else:
            if not future.done():
                future.set_result(result)
        self._next()

    def kill(self, *, finish_call: bool) -> None:
        """End as a killed process does: what is in the kernel may still happen."""
        job, self._busy = self._busy, None
        self._queue.clear()
        if job is not None and finish_call:
            with suppress(Crash, Exception):  # nobody is left to be told
                job[1]()
