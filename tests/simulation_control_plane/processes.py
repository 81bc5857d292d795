"""Processes that can be killed and stopped at any moment, and the network between them."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import Context, ContextVar, copy_context
from typing import Any, Final, TypeVar

from devstack.virtual_loop import VirtualLoop

T = TypeVar("T")
CURRENT: ContextVar[Process | None] = ContextVar("process", default=None)
"""The process that a task belongs to."""
LATENCY_S: Final = (0.0002, 0.003)


class NetworkError(Exception):
    """There was no answer."""


class Process:
    """What runs, dies and may be stopped as by SIGSTOP."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.up = True
        self.stopped = False
        self.tasks: dict[asyncio.Task[Any], None] = {}
        """In the order of their start, so that they always end in the same."""
        self.continued = asyncio.Event()
        self.on_death: Callable[[str], None] = lambda _text: None
        """Called when a task ends by an exception."""

    def spawn(self, work: Coroutine[Any, Any, T], name: str) -> asyncio.Task[T]:
        """Start a task that dies with this process."""
        token = CURRENT.set(self)
        try:
            return asyncio.get_running_loop().create_task(work, name=f"{self.name}: {name}")
        finally:
            CURRENT.reset(token)

    def loop_task(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Start a task that must not end."""
        self.spawn(work, name).add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if self.up and not task.cancelled():
            self.on_death(f"task {task.get_name()} ended: {task.exception()!r}")

    def kill(self) -> None:
        """End as by SIGKILL: nothing that runs from here on has an effect."""
        self.up = False
        self._reap()

    def _reap(self) -> None:
        """Cancel until nothing is left: one cancellation may come too late for a `wait_for`."""
        for task in list(self.tasks):
            task.cancel()
        if self.tasks:
            asyncio.get_running_loop().call_soon(self._reap, context=Context())


def task_factory(
    loop: asyncio.AbstractEventLoop, work: Any, *, context: Context | None = None
) -> asyncio.Task[Any]:
    """Make a task that belongs to the process of whoever makes it."""
    process = (context or copy_context()).get(CURRENT)
    task: asyncio.Task[Any] = asyncio.Task(work, loop=loop, context=context)
    if process is not None:
        process.tasks[task] = None
        task.add_done_callback(lambda it: process.tasks.pop(it, None))
        if not process.up:
            task.cancel()
    return task


class Network:
    """Requests between processes: cut off, slow, refused, reset."""

    def __init__(self, loop: VirtualLoop, rng: random.Random) -> None:
        self._loop = loop
        self._rng = rng
        self._cuts: dict[frozenset[str], int] = {}
        self.slow: dict[str, float] = {}
        """By process: seconds that each request to it takes."""

    def cut(self, one: str, other: str) -> None:
        """Let nothing through between two parties any more."""
        pair = frozenset((one, other))
        self._cuts[pair] = self._cuts.get(pair, 0) + 1

    def mend(self, one: str, other: str) -> None:
        """Take one `cut` back."""
        pair = frozenset((one, other))
        self._cuts[pair] = max(0, self._cuts.get(pair, 0) - 1)

    def mend_all(self) -> None:
        """Take everything back."""
        self._cuts.clear()
        self.slow.clear()

    def is_cut(self, one: str, other: str) -> bool:
        """Whether nothing gets through."""
        return self._cuts.get(frozenset((one, other)), 0) > 0

    async def call(
        self,
        source: Process,
        target: Process,
        work: Callable[[], Coroutine[Any, Any, T]],
        *,
        timeout_s: float,
    ) -> T:
        """Have *target* do *work*, and return its result. Raises NetworkError, or what it raises.

        A caller that gives up ends the work, as a closed connection does, unless it is cut off.
        """
        if not source.up:
            raise asyncio.CancelledError
        try:
            async with asyncio.timeout(timeout_s):
                return await self._call(source, target, work)
        except TimeoutError:
            raise NetworkError(f"no answer from {target.name} in time") from None

    async def _call(
        self, source: Process, target: Process, work: Callable[[], Coroutine[Any, Any, T]]
    ) -> T:
        await self._travel(source, target)
        if not target.up:
            raise NetworkError(f"{target.name}: connection refused")
        while target.stopped:
            await target.continued.wait()
        if target.name in self.slow:
            await asyncio.sleep(self.slow[target.name])
        if not target.up:
            raise NetworkError(f"{target.name}: connection reset")
        task = target.spawn(work(), "request")
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError:
            if not self.is_cut(source.name, target.name):
                task.cancel()
            task.add_done_callback(_forget)
            raise
        if task.cancelled():
            raise NetworkError(f"{target.name}: connection reset")
        await self._travel(target, source)
        return task.result()

    async def _travel(self, source: Process, target: Process) -> None:
        await asyncio.sleep(self._rng.uniform(*LATENCY_S))
        if self.is_cut(source.name, target.name):
            await asyncio.get_running_loop().create_future()


def _forget(task: asyncio.Task[Any]) -> None:
    if not task.cancelled():
        task.exception()


async def answered(work: Awaitable[T]) -> T | None:
    """Return what *work* returns, None where the network does not let it."""
    try:
        return await work
    except NetworkError:
        return None
