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
from contextvars import Context
from heapq import heappop, heappush
from itertools import count
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
        self.on_result: Callable[[], None] = lambda: None
        """Called whenever a call of a thread has ended, before anybody learns of it."""
        self._threads: dict[int, _Thread] = {}
        # asyncio's own: private, but there since Python 3.4.
        self._ready: deque[asyncio.Handle]
        self._stopping: bool
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._number = count()

    def time(self) -> float:
        """Return the virtual time."""
        return self.now

    # As asyncio's own, without the checks of its debug mode: they would take a third of the time.

    def call_soon(  # type: ignore[override]  # typeshed has the types of the arguments, too
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        """Run *callback* in the next turn."""
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    def call_later(  # type: ignore[override]  # as above
        self,
        delay: float,
        callback: Callable[..., object],
        *args: Any,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """Run *callback* in *delay* seconds."""
        return self.call_at(self.now + delay, callback, *args, context=context)

    def call_at(  # type: ignore[override]  # as above
        self,
        when: float,
        callback: Callable[..., object],
        *args: Any,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """Run *callback* at the time *when*; of two for the same moment the earlier call first."""
        timer = asyncio.TimerHandle(when, callback, args, self, context)
        heappush(self._timers, (when, next(self._number), timer))
        return timer

    def _run_once(self) -> None:
        """Run all that is ready; where nothing is, jump to the next timer. A step."""
        ready, timers = self._ready, self._timers
        while timers and timers[0][2].cancelled():
            heappop(timers)
        if not ready and not self._stopping:
            if not timers:
                raise DeadlockError("everybody waits, and no timer is set")
            self.now = max(self.now, timers[0][0])
        self.now += self.step_s
        while timers and timers[0][0] <= self.now:
            timer = heappop(timers)[2]
            if not timer.cancelled():
                ready.append(timer)
        for _ in range(len(ready)):
            handle = ready.popleft()
            if not handle.cancelled():
                handle._run()  # noqa: SLF001 (what asyncio's own loop calls)
        self.steps += 1
        self.after_step()

    def end(self) -> None:
        """Cancel all tasks, let them end, and close the loop."""
        for _ in range(100):
            tasks = asyncio.all_tasks(self)
            if not tasks:
                break
            for task in tasks:
                task.cancel()
            self.call_later(0.001, self.stop)
            self.run_forever()
        self.set_exception_handler(lambda _loop, _context: None)
        self.close()

    def run_first(self, call: Callable[[], object]) -> None:
        """Make a call; what it schedules runs before everything that is ready already."""
        count = len(self._ready)
        call()
        self._ready.rotate(len(self._ready) - count)

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
        self._loop.on_result()
        self._next()

    def kill(self, *, finish_call: bool) -> None:
        """End as a killed process does: what is in the kernel may still happen."""
        job, self._busy = self._busy, None
        self._queue.clear()
        if job is not None and finish_call:
            with suppress(Crash, Exception):  # nobody is left to be told
                job[1]()
