"""One life of the daemon: the real core between simulated adapters, from start to crash.

What `app` composes is composed here, without HTTP, metrics and signals; in supervise mode with
the real `Supervisor`, which starts the simulated server.
"""

from __future__ import annotations

import asyncio
import random
from contextvars import ContextVar
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from compute_ctl.app.reconciler_parts import build_reconciler
from compute_ctl.app.supervisor import Supervisor
from compute_ctl.decisions.model import (
    Attempt,
)
from compute_ctl.decisions.persistent_state import ClusterIdentity
from compute_ctl.decisions.transitions import Event, Status
from compute_ctl.document.render import RenderContext
from compute_ctl.errors import StoreError
from compute_ctl.node import Node
from compute_ctl.node.node import EXIT_EMPTY
from compute_ctl.node.observer import Observer
from compute_ctl.postgres import Events
from compute_ctl.reconciler.generations import GenerationStore
from compute_ctl.settings import Settings
from tests.simulation.postgres import SimPostgres
from tests.simulation.probe import SimProbe
from tests.simulation.source import SimSource
from tests.simulation.starts import watch_applier
from tests.simulation.stores import Fence, SimConfStore, SimStateStore

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping

    from tests.simulation.world import World

RECONCILE_S = 60.0
CURRENT: ContextVar[SimDaemon | None] = ContextVar("daemon", default=None)
"""The daemon that a task belongs to."""


class Server:
    """The server as one daemon reaches it; a dead one reaches nothing."""

    def __init__(self, postgres: SimPostgres, fence: Fence, *, log_is_read: bool) -> None:
        self._postgres = postgres
        self._log_is_read = log_is_read
        self._fence = fence
        self.started = asyncio.Event()

    @property
    def ready(self) -> bool:
        """Whether it accepts connections."""
        return self._postgres.ready

    @property
    def running(self) -> bool:
        """Whether it exists."""
        return self._postgres.running

    @property
    def pid(self) -> int | None:
        """Its process id."""
        return self._postgres.pid

    @property
    def in_recovery(self) -> bool | None:
        """Unknown: this server is neither primary nor standby."""
        return None

    @property
    def is_primary(self) -> bool:
        """Never: its documents may name either mode."""
        return False

    @property
    def has_read_files(self) -> bool:
        """Whether it has read its files: it does so at once."""
        return True

    @property
    def failure(self) -> str:
        """Nothing: this server says nothing."""
        return ""

    def read_log(self) -> None:
        """Its log is nobody's."""

    def blocked_on(self) -> None:
        """Wait for no file."""

    def unblock(self, file: str) -> None:
        """Wait for no file."""

    def started_after(self, at: datetime) -> bool:
        """Whether it was started later than *at*."""
        return self._postgres.up and self._postgres.started_after(at)

    def reload(self) -> bool:
        """Send SIGHUP."""
        return not self._fence.up and self._postgres.reload()

    @property
    def begun(self) -> bool:
        """Whether it has loaded its libraries."""
        return self._postgres.begun

    async def stop(self, *, immediate: bool = False) -> None:
        """Stop it."""
        del immediate
        if not self._fence.up:
            self._postgres.stop()

    def start(self, environment: Mapping[str, str] | None = None) -> bool:
        """Start the server, or adopt it; return whether it was adopted."""
        del environment
        if self._fence.up:
            return False
        adopted = self._postgres.up
        if not adopted:
            self._postgres.start()
        self.started.set()
        return adopted

    @property
    def shutdown_lsn(self) -> str | None:
        """Nothing: this server has no write-ahead log."""
        return None

    async def watch(self, events: Events) -> None:
        """Report on every start of the server, as the real one does."""
        self._postgres.log = events if self._log_is_read else None
        while True:
            await self.started.wait()
            self.started.clear()
            pid, ready = self._postgres.pid, False
            while self._postgres.up and self._postgres.pid == pid:
                if self._postgres.ready and not ready:
                    ready = True
                    events.on_ready()
                await asyncio.sleep(1.0 if ready else 0.1)
            if ready:
                events.on_lost()
            events.on_exit(1)


class SimDaemon(Observer):
    """One process; `tasks` are all that run in it."""

    def __init__(self, world: World) -> None:
        self._world = world
        fence = Fence()
        self._postgres = Server(world.postgres, fence, log_is_read=world.log_is_read)
        self._fence = fence
        self.tasks: set[asyncio.Task[object]] = set()
        self.serving = False
        self.restored = False
        self.node = Node(clock=world, postgres=self._postgres)
        self.node.subscribe(self)
        self._conf = SimConfStore(world.disk, fence, check_answers=world.checks)
        self._state = SimStateStore(world.disk, fence)
        self._store = GenerationStore(
            conf=self._conf,
            state=self._state,
            identity=ClusterIdentity(compute_id="c", system_identifier="7", data_dir_inode="1:2"),
            deadlines=world.settings.deadlines,
            nonce=lambda: f"{world.rng.getrandbits(128):032x}",
            on_kept=self.node.config.state_kept,
        )
        parts = build_reconciler(
            node=self.node,
            store=self._store,
            postgres=self._postgres,
            probe=SimProbe(world),
            source=SimSource(world),
            clock=world,
            settings=world.settings,
            context=RenderContext(
                attach=True, internal_port=3081, token_file=str(self._state.token_path)
            ),
            rng=random.Random(world.rng.random()),
        )
        self._recovery, self._reconciler = parts.recovery, parts.reconciler
        watch_applier(parts.applier, world.invariants)

    # Start and crash

    def spawn(self, work: Coroutine[object, object, None], name: str) -> asyncio.Task[None]:
        """Start a task that dies with this process."""
        token = CURRENT.set(self)
        try:
            return asyncio.get_running_loop().create_task(work, name=name)
        finally:
            CURRENT.reset(token)

    async def run(self) -> None:
        """Live until the process ends by itself (it may be killed before)."""
        self.serving = True
        self._conf.prepare()
        self._state.open()
        try:
            await self._recovery.restore()
        except StoreError as error:
            self._world.note(f"the daemon could not start: {error}")
            return
        self.restored = True
        work = [self.spawn(self._reconciler.run(), "reconciler"), *self._watchers()]
        ending = asyncio.create_task(self.node.terminating_event.wait(), name="ending")
        done, _ = await asyncio.wait({*work, ending}, return_when=asyncio.FIRST_COMPLETED)
        for task in done & set(work):
            if not task.cancelled() and task.exception() is not None:
                self._world.fail(f"task {task.get_name()} died: {task.exception()!r}")
        if self.node.status is Status.TERMINATED or not self.node.terminating:
            return  # its server has ended
        if self.node.exit_code == EXIT_EMPTY:
            self._world.invariants.detached()
        self._world.postgres.stop()
        self.node.move(Event.STOPPED, "postgres is stopped")

    def _watchers(self) -> list[asyncio.Task[None]]:
        if not self._world.supervised:
            return [self.spawn(self._watch(), "postgres watcher")]
        supervisor = Supervisor(
            node=self.node,
            postgres=self._postgres,
            deadlines=self._world.settings.deadlines,
            environment=dict,
            before_start=lambda: None,
        )
        return [
            self.spawn(self._postgres.watch(supervisor.events), "postgres watcher"),
            self.spawn(supervisor.run(), "supervisor"),
        ]

    async def _watch(self) -> None:
        ready = False
        while True:
            if self._postgres.ready != ready:
                ready = not ready
                (self.node.postgres_ready if ready else self.node.postgres_lost)()
            await asyncio.sleep(1.0 if ready else 0.1)

    def kill(self) -> None:
        """End as by SIGKILL: nothing that runs from here on has an effect."""
        self.serving = False
        self._fence.up = True
        self._world.postgres.log = None
        self._reap()

    def _reap(self) -> None:
        """Cancel until nothing is left: one cancellation may come too late for a `wait_for`."""
        for task in list(self.tasks):
            task.cancel()
        if self.tasks:
            asyncio.get_running_loop().call_soon(self._reap)

    # An observer

    def on_move(self, old: Status, new: Status, why: str) -> None:
        """Note a change of status."""
        if not self._fence.up:
            self._world.invariants.moved(old, new)
            self._world.note(f"{old} -> {new}: {why}")

    def on_illegal_event(self, status: Status, event: Event) -> None:
        """No story may lead to an event that has to be dropped."""
        if not self._fence.up:
            self._world.fail(f'event "{event}" was dropped in status "{status}"')

    def on_attempt(self, attempt: Attempt) -> None:
        """Note how an attempt ended."""
        if not self._fence.up:
            self._world.invariants.attempted(attempt)
            self._world.note(f"{attempt.who}: {attempt.outcome} {attempt.reason}")


def settings() -> Settings:
    """Return the settings of every simulated daemon."""
    return Settings(
        pgdata=Path("/pgdata"), connstr="", compute_id="c", attach=True,
        reconcile_interval=RECONCILE_S,
    )  # fmt: skip
