"""The world of one seed: puts the parts together and tells the story."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from contextvars import Context, copy_context
from datetime import UTC, datetime, timedelta
from typing import Any

from devstack.virtual_loop import START, Crash, VirtualLoop
from tests.simulation import moves
from tests.simulation.daemon import CURRENT, SimDaemon, settings
from tests.simulation.disk import Disk
from tests.simulation.documents import Kind, Ordering, Writer, url
from tests.simulation.ending import Ending
from tests.simulation.faults import Faults
from tests.simulation.interruptions import Interruptions, What
from tests.simulation.invariants import InvariantError, Invariants
from tests.simulation.postgres import SimPostgres
from tests.simulation.source import ControlPlane
from tests.simulation.worker import SimWorker

EPOCH = datetime(2030, 1, 1, tzinfo=UTC)
MAX_STEPS = 400_000
PATIENCE = 10
"""After so many looks a server that does not get on with its start is ended."""


class World:
    """One seed."""

    def __init__(self, seed: int, *, note: Callable[[str], None] | None = None) -> None:
        self.seed = seed
        self.rng = rng = random.Random(seed)
        self._note = note
        self.loop = VirtualLoop()
        self.settings = settings()
        self.faults = Faults()
        self.disk = Disk()
        self.wall_offset = 0.0
        self.clocks_set = 0
        """How often; set to and fro, a clock can make any two moments change places."""
        self.has_library = rng.random() < 0.85
        self.has_etags = rng.random() < 0.8
        self.long_polls = rng.random() < 0.5
        self.checks = rng.random() < 0.7
        self.supervised = rng.random() < 0.3
        """The daemon starts the server; else somebody else does."""
        self.library_tells = self.has_library and rng.random() < 0.7
        """Acknowledgements carry what was not reloaded; an older library does not know it."""
        self.log_is_read = self.supervised and rng.random() < 0.7
        """The daemon understands the server's log; in another language it does not."""
        ordering = rng.choice([Ordering.GENERATION, Ordering.GENERATION, *Ordering])
        self.writer = Writer(ordering, login=rng.random() < 0.3)
        self.play = moves.play
        self.brief = False
        """Whether it is enough that all is well once in the end."""
        self.kinds = list(Kind)
        self.control = ControlPlane()
        self.postgres = SimPostgres(self)
        self.postgres_wanted = True
        self.place = 0
        """Where the pages are; a server that names another place is in trouble."""
        self.worker_looks = asyncio.Event()
        self.daemon: SimDaemon | None = None
        self.crashes = 0
        self.crash_at_step: int | None = None
        self.interruptions = Interruptions(self)
        self.quiet = False
        self.forces = True
        """Whether operators ask by force: then a document may take servers away."""
        self.calm = True
        """Nothing has been wrong with the way to the source in this story."""
        self.invariants = Invariants(self)
        self._failure: InvariantError | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    # Time

    def monotonic(self) -> float:
        """Return seconds that never go backwards."""
        return self.loop.now

    def _file_changed(self, name: str) -> None:
        self.disk.changed_at[name] = self.wall()
        self.invariants.file_changed(name)

    def wall(self) -> datetime:
        """Return the wall clock, which somebody may set."""
        return EPOCH + timedelta(seconds=self.loop.now - START + self.wall_offset)

    def later(self, seconds: float, call: Callable[..., object], *args: Any) -> None:
        """Call outside the daemon, in *seconds*."""
        self.loop.call_later(seconds, call, *args, context=Context())

    def note(self, text: str) -> None:
        """Tell whoever watches this run."""
        if self._note is not None:
            self._note(f"{self.loop.now - START:9.4f}  {text}")

    # What is so

    @property
    def troubled(self) -> bool:
        """Whether queries wait for a pageserver that is not there."""
        return (
            self.has_library
            and self.postgres.ready
            and bool(self.postgres.marker)
            and self.postgres.pageserver != url(f"ps{self.place}")
        )

    def fail(self, reason: str) -> None:
        """End the run: an invariant does not hold."""
        if self._failure is None:
            self._failure = InvariantError(reason)

    @property
    def daemon_answers(self) -> bool:
        """Whether there is a daemon process and its HTTP server takes requests."""
        return self.daemon is not None and self.daemon.serving

    def choose_kind(self) -> Kind:
        """Return what shall be the matter with the next document."""
        kind = self.rng.choice([Kind.GOOD, *self.kinds])
        unknown = kind is Kind.OTHER_TENANT and not self.postgres.ran
        return Kind.GOOD if unknown else kind  # the first document says whose compute this is

    # The run

    def run(self) -> None:
        """Tell the story. Raises InvariantError."""
        loop = self.loop
        loop.set_task_factory(_task_factory)
        loop.set_exception_handler(self._unhandled)
        loop.after_step = self._after_step
        loop.on_crash = self.crash
        loop.on_result = lambda: self.interruptions.await_ends(What.FILES)
        loop.job_time = self._job_time
        self.disk.on_change = self._file_changed
        try:
            loop.run_until_complete(self._story())
        finally:
            loop.after_step = loop.on_result = lambda: None
            self.interruptions.cancel()
            loop.end()

    def _unhandled(self, _loop: object, context: dict[str, Any]) -> None:
        if self.crashes == 0:  # what a killed process leaves behind is nobody's business
            self.fail(f"unhandled: {context.get('message')}: {context.get('exception')!r}")

    def _job_time(self) -> float:
        if self.faults.slow_disk and self.rng.random() < 0.5:
            return self.rng.uniform(0.5, 8.0)
        return self.rng.uniform(0.0002, 0.003)

    def _after_step(self) -> None:
        self.invariants.check()
        self.interruptions.after_step()
        if self._failure is not None:
            raise self._failure
        if self.loop.steps > MAX_STEPS:
            raise InvariantError("it never comes to rest")
        if self.crash_at_step is not None and self.loop.steps >= self.crash_at_step:
            self.crash()

    def spawn(self, work: Coroutine[object, object, None], name: str) -> None:
        """Start a task outside the daemon."""
        task = self.loop.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._outside_ended)

    def _outside_ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self.fail(f"the simulation is broken: {task.get_name()}: {task.exception()!r}")

    async def _story(self) -> None:
        self.control.publish(self.writer.write(self.place))
        if not self.supervised:
            if self.rng.random() < 0.8:
                self.postgres.start()
            self.spawn(self._keep_postgres(), "keeper of postgres")
        self.spawn(self._keep_daemon(), "keeper of the daemon")
        if self.has_library:
            worker = SimWorker(self)
            self.spawn(worker.acknowledge(), "worker acknowledges")
            self.spawn(worker.complain(), "worker complains")
        await self.play(self)
        self.note("--- quiet ---")
        ending = Ending(self)
        await ending.converges()
        if not self.brief:
            await ending.lasts()

    async def _keep_postgres(self) -> None:
        """Start the server again whenever it is down or hangs, as systemd would."""
        patience = PATIENCE
        while True:
            await asyncio.sleep(self.rng.uniform(0.5, 3.0))
            hung = self.postgres.up and not self.postgres.begun
            patience = patience - 1 if hung else PATIENCE
            if not patience:
                self.postgres.stop()
                patience = PATIENCE
            if self.postgres_wanted and not self.postgres.up and self.postgres.start():
                self.note(f"postgres starts (pid {self.postgres.pid})")

    async def _keep_daemon(self) -> None:
        while True:
            self.daemon = daemon = SimDaemon(self)
            self.invariants.new_life()
            self.note("the daemon starts")
            main = daemon.spawn(daemon.run(), "daemon")
            await asyncio.wait({main})
            if not main.cancelled() and main.exception() is not None:
                self._died(main.exception())
            daemon.kill()
            self.loop.kill_threads(finish_call=True)
            self.daemon = None
            await asyncio.sleep(self.rng.uniform(0.05, 3.0))

    def _died(self, error: BaseException | None) -> None:
        if isinstance(error, Crash):
            self.crash()
        else:
            self.fail(f"the daemon died: {error!r}")

    def crash(self, *, finish_call: bool = False) -> None:
        """Kill the daemon, wherever it is."""
        self.crash_at_step = self.disk.crash_in = None
        if self.daemon is None:
            return
        self.note("the daemon is killed")
        self.crashes += 1
        self.loop.kill_threads(finish_call=finish_call)
        self.daemon.kill()


def _task_factory(
    loop: asyncio.AbstractEventLoop, work: Any, *, context: Context | None = None
) -> asyncio.Task[Any]:
    task: asyncio.Task[Any] = asyncio.Task(work, loop=loop, context=context)
    daemon = (context or copy_context()).get(CURRENT)
    if daemon is not None:
        daemon.tasks.add(task)
        task.add_done_callback(daemon.tasks.discard)
    return task
