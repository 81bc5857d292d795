"""Runs Postgres, where that is the daemon's business: start, the next starts, the end.

Postgres starts as soon as there is a configuration to start it with. If it does not come up, it is
started again with what the reconciler writes instead: the newest servers with the settings of
earlier generations, back to the one that a server came up with last. Where nothing is left to try,
the daemon waits a while for somebody to help, and ends.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, Protocol

from compute_ctl.document.body import log_is_elsewhere
from compute_ctl.document.generation import Marker
from compute_ctl.errors import PostgresError
from compute_ctl.node import Node
from compute_ctl.postgres import Events
from compute_ctl.settings import Deadlines

logger = logging.getLogger(__name__)


class Stopped(Protocol):
    """A server that may have ended."""

    @property
    def shutdown_lsn(self) -> str | None:
        """Where its log ended."""


def shutdown_lsn(node: Node, postgres: Stopped, *, attach: bool) -> str | None:
    """Return where the log of *postgres* ended; None where only safekeepers can tell."""
    written = node.config.written
    here = written is not None and not log_is_elsewhere(written.body, attach=attach)
    return postgres.shutdown_lsn if here else None


class Startable(Stopped, Protocol):
    """What it needs of `Supervised`, so that a simulation can take its place."""

    @property
    def running(self) -> bool:
        """Whether the server exists."""

    @property
    def pid(self) -> int | None:
        """Its process id."""

    @property
    def failure(self) -> str:
        """Why it ended before it was ready, in its own words; '' where it has not said."""

    @property
    def begun(self) -> bool:
        """Whether it has read its files and loaded its libraries."""

    def blocked_on(self) -> str | None:
        """The file that it waits for, where that can be told."""

    def start(self, environment: Mapping[str, str] | None = None) -> bool:
        """Start or adopt it; return whether it was adopted. Raises PostgresError."""

    async def stop(self, *, immediate: bool = False) -> None:
        """Stop it. Raises PostgresError."""


async def _nothing_to_make() -> bool:
    return True


async def _no_safekeepers() -> str | None:
    return None


class Supervisor:
    """Starts one Postgres and tells the node what becomes of it; `run` is its task."""

    def __init__(
        self,
        *,
        node: Node,
        postgres: Startable,
        deadlines: Deadlines,
        environment: Callable[[], dict[str, str]],
        before_start: Callable[[], None],
        make_cluster: Callable[[], Awaitable[bool]] = _nothing_to_make,
        ask_safekeepers: Callable[[], Coroutine[Any, Any, str | None]] = _no_safekeepers,
    ) -> None:
        """*make_cluster* returns whether there is a cluster to start on; it makes a missing one.

        *ask_safekeepers* returns where the log of a server that has ended ends, where only they
        can tell.
        """
        self._node = node
        self._postgres = postgres
        self._deadlines = deadlines
        self._environment = environment
        self._before_start = before_start
        self._make_cluster = make_cluster
        self._ask_safekeepers = ask_safekeepers
        self._came_up = False
        self._ended = asyncio.Event()
        self._status: int | None = None
        self._hung = ""
        """Why it was stopped before it was ready."""
        self._started_with: Marker | None = None
        """What was in the file when Postgres was started; it may be another by the end.

        None where an earlier daemon has started it, perhaps with another file: if it does not come
        up, that is no evidence against what is in the file now, which it is started with next.
        """

    @property
    def events(self) -> Events:
        """What the watcher of the process calls."""
        return Events(
            on_ready=self._on_ready,
            on_lost=self._node.postgres_lost,
            on_exit=self._exit,
            on_reload=self._node.reload_errors.reload,
            on_not_reloaded=self._node.not_reloaded,
        )

    def _on_ready(self) -> None:
        self._came_up = True
        self._node.postgres_ready()

    def _exit(self, status: int | None) -> None:
        self._status = status
        self._ended.set()

    async def run(self) -> None:
        """Start Postgres, and end with the node when it has ended for good."""
        node = self._node
        while not node.terminating:
            await self._wait_for_configuration()
            if node.terminating and not self._postgres.running:
                break
            if not self._postgres.running and not await self._make_cluster():
                break
            self._ended.clear()
            self._start()
            await self._wait_for_end()
            if self._came_up or node.terminating:
                break
            if not await self._second_chance():
                break
        never = 0 if node.terminating else 1
        ended = "was not started" if self._status is None else f"ended with status {self._status}"
        node.postgres_ended(
            f"postgres {ended}",
            lsn=await self._log_end(),
            exit_code=never if self._status is None else self._status,
        )

    async def _log_end(self) -> str | None:
        """Return where the log ends, None where that is not known, or nobody waits for it."""
        node = self._node
        lsn = shutdown_lsn(node, self._postgres, attach=False)
        if lsn is not None or not self._came_up or node.immediate_stop.is_set():
            return lsn
        asking = asyncio.create_task(self._ask_safekeepers())
        hurry = asyncio.create_task(node.immediate_stop.wait())
        try:
            await asyncio.wait({asking, hurry}, return_when=asyncio.FIRST_COMPLETED)
            return asking.result() if asking.done() else None
        finally:
            hurry.cancel()
            asking.cancel()

    async def _wait_for_configuration(self) -> None:
        """Wait for a document; an older one will do if the source does not answer in time."""
        node = self._node
        if node.config.written is not None and not self._postgres.running:
            try:
                await self._unless_ending(node.attempts.first_ended, self._deadlines.first_fetch)
            except TimeoutError:
                logger.warning(
                    "the source has not answered yet, starting postgres with the last known "
                    "good generation"
                )
        await self._unless_ending(node.start.configured)

    def _start(self) -> None:
        written = self._node.config.written
        self._started_with = written.marker if written is not None else None
        if not self._postgres.running:
            self._before_start()
            self._node.start.begin(written)
        try:
            if self._postgres.start(self._environment()):
                logger.info("adopted the running postgres (pid %s)", self._postgres.pid)
                self._started_with = None
        except PostgresError as error:
            logger.error("%s", error)
            self._exit(1)

    async def _wait_for_end(self) -> None:
        """Wait until Postgres has ended; one that hangs before it begins to recover is stopped.

        A library, or an include that is a pipe, may keep it from that for ever. Recovery itself may
        take hours.
        """
        self._hung = ""
        limit, postgres = self._deadlines.start_postgres, self._postgres
        try:
            await asyncio.wait_for(self._ended.wait(), limit)
        except TimeoutError:
            if not (self._came_up or postgres.begun or self._node.terminating):
                file = postgres.blocked_on()
                waits = f'; it waits for file "{file}"' if file else ""
                self._hung = f"it hung for {limit:g} s before it began to recover{waits}"
                logger.error("stopping postgres: %s", self._hung)
                try:
                    await postgres.stop(immediate=True)
                except PostgresError as error:
                    logger.error("%s", error)
            await self._ended.wait()

    async def _second_chance(self) -> bool:
        """Wait for another generation to start with; False if none comes in time."""
        node = self._node
        node.start.end()
        reason = f"postgres did not start (status {self._status})"
        if said := self._hung or self._postgres.failure:
            reason = f"postgres did not start: {said}"
        logger.error("%s", reason)
        node.start_failed(reason, self._started_with)
        try:
            await self._unless_ending(node.start.configured, self._deadlines.failed_start)
        except TimeoutError:
            logger.error("postgres does not start, and nobody has sent another configuration")
            return False
        return True

    async def _unless_ending(self, event: asyncio.Event, within_s: float | None = None) -> None:
        """Wait for *event*, or until the compute is to end.

        Raises:
            TimeoutError: neither came within *within_s*.
        """
        waiters = [asyncio.create_task(one.wait()) for one in (event, self._node.terminating_event)]
        try:
            done, _ = await asyncio.wait(
                waiters, timeout=within_s, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            for waiter in waiters:
                waiter.cancel()
        if not done:
            raise TimeoutError
