"""The composition root: makes every object and every task, and ends them in order.

Order of the start: become the owner of the data directory ▸ lock it and the state folder ▸ open the
doors ▸ configurator. Order of the end: no new requests ▸ Postgres, where it is ours ▸ tasks ▸
doors. A task that dies is an error that ends the daemon: systemd starts it again, Postgres runs on.
"""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
import signal
import time
from collections.abc import Coroutine
from datetime import UTC, datetime
from pathlib import Path

from compute_ctl.catalog import Desk, Keeper
from compute_ctl.configurator import Configurator
from compute_ctl.configurator.applier import Applier
from compute_ctl.configurator.fetcher import Fetcher
from compute_ctl.configurator.journal import Journal
from compute_ctl.configurator.prover import Prover
from compute_ctl.decisions.recovery import Identity
from compute_ctl.decisions.state import Event
from compute_ctl.document.conninfo import parse as parse_conninfo
from compute_ctl.document.render import RenderContext
from compute_ctl.errors import SettingsError
from compute_ctl.files.claim import claimed
from compute_ctl.files.conf_store import ConfStore
from compute_ctl.files.state_store import StateStore
from compute_ctl.http import Doors
from compute_ctl.monitoring.metrics import Metrics
from compute_ctl.monitoring.monitor import Monitor
from compute_ctl.monitoring.observers import History, SystemdStatus
from compute_ctl.monitoring.watchdog import Watchdog
from compute_ctl.node import Node
from compute_ctl.postgres import Attached, Events, Supervised
from compute_ctl.postgres.identity import data_dir_inode, major_version, system_identifier
from compute_ctl.postgres.programs import beside
from compute_ctl.settings import Settings
from compute_ctl.sources.control_plane import ControlPlane
from compute_ctl.sources.file import FileSource
from compute_ctl.sql.probe import SqlProbe
from compute_ctl.supervisor import Supervisor
from compute_ctl.system.privileges import become_owner
from compute_ctl.system.sd_notify import READY, STOPPING, Notifier

logger = logging.getLogger(__name__)

DEFAULT_SUPERUSER = "cloud_admin"


class SystemClock:
    """The machine's clocks."""

    def monotonic(self) -> float:
        """Seconds that never go backwards."""
        return time.monotonic()

    def wall(self) -> datetime:
        """The current time in UTC."""
        return datetime.now(UTC)


def run(settings: Settings) -> int:
    """Run the daemon until it ends; return the exit status.

    Raises:
        SettingsError: it cannot start like this; nothing was changed.
    """
    become_owner(settings.pgdata)
    return asyncio.run(_App(settings).main())


class _App:
    """Everything there is, in one place."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._tasks: set[asyncio.Task[None]] = set()
        self._died = asyncio.Event()
        self._signalled = asyncio.Event()

    async def main(self) -> int:
        """Start, wait for the end, end."""
        settings = self._settings
        postgres = self._make_postgres()
        if isinstance(postgres, Supervised):
            await postgres.make_if_empty()
        store = StateStore(settings.state_path)
        store.open()
        try:
            with claimed(settings.pgdata):
                return await self._serve(postgres, store)
        finally:
            if isinstance(postgres, Supervised):
                postgres.close()
            store.close()

    def _make_postgres(self) -> Attached | Supervised:
        settings = self._settings
        if settings.attach:
            return Attached(settings.pgdata)
        return Supervised(
            settings.pgdata,
            pgbin=settings.pgbin,
            superuser=parse_conninfo(settings.connstr).params.get("user", DEFAULT_SUPERUSER),
            log_pipe=settings.state_path / "postgres.log.fifo",
        )

    async def _serve(self, postgres: Attached | Supervised, store: StateStore) -> int:
        settings, clock = self._settings, SystemClock()
        notifier = Notifier.from_environment()
        metrics = Metrics()
        node = Node(clock=clock, postgres=postgres)
        node.postgres_version = major_version(settings.pgdata)
        node.subscribe(metrics)
        source = self._make_source(metrics)
        desk = Desk(settings.connstr, pg_dump=beside(settings.pgbin, "pg_dump"))
        doors = Doors(node=node, settings=settings, meter=metrics, catalog=desk)
        await doors.start()
        journal = self._make_journal(store)
        node.subscribe(History(journal.add_history))
        applier = self._make_applier(node, journal, postgres, clock, doors.internal_port)
        keeper = self._make_keeper(node, journal, postgres, clock)
        configurator = Configurator(
            node=node,
            applier=applier,
            fetcher=Fetcher(source),
            postgres=postgres,
            clock=clock,
            settings=settings,
            rng=random.SystemRandom(),
            catalog=keeper,
        )
        watchdog = Watchdog(notifier)
        watchdog.start()
        self._catch_signals()
        await applier.restore()
        self._spawn("configurator", configurator.run())
        self._spawn("catalog", keeper.run())
        self._spawn("monitor", self._make_monitor(node, postgres, clock, metrics).run())
        self._watch(node, postgres, store)
        notifier.send(READY)
        node.subscribe(SystemdStatus(notifier))
        try:
            await self._until_the_end(node)
            notifier.send(STOPPING)
            await self._stop_postgres(node, postgres)
        finally:
            await self._stop_tasks()
            await doors.stop(settings.deadlines.shutdown)
            watchdog.close()
            journal.close()
            if isinstance(source, ControlPlane):
                await source.close()
        return self._exit_code(node)

    # Making

    def _make_source(self, metrics: Metrics) -> FileSource | ControlPlane:
        settings = self._settings
        if settings.config_path is not None:
            return FileSource(settings.config_path)
        if settings.control_plane_uri is None:
            raise SettingsError("no source of configuration: neither a file nor a control plane")
        return ControlPlane(
            settings.control_plane_uri,
            compute_id=settings.compute_id,
            token=settings.control_plane_token,
            ca=settings.control_plane_ca,
            connect_timeout_s=settings.deadlines.fetch_connect,
            total_timeout_s=settings.deadlines.fetch_total,
            on_request=metrics.on_fetch,
        )

    def _make_journal(self, store: StateStore) -> Journal:
        settings = self._settings
        conf = ConfStore(
            settings.conf_path,
            pgdata=settings.pgdata,
            pgbin=settings.pgbin,
            attach=settings.attach,
            config_file=settings.config_file,
            check_timeout_s=settings.deadlines.check,
        )
        if settings.attach:
            conf.ensure_included()
        conf.prepare()
        return Journal(
            conf=conf,
            state=store,
            identity=Identity(
                compute_id=settings.compute_id,
                system_identifier=system_identifier(settings.pgdata),
                data_dir_inode=data_dir_inode(settings.pgdata),
            ),
            deadlines=settings.deadlines,
            nonce=lambda: secrets.token_hex(16),
        )

    def _make_applier(
        self,
        node: Node,
        journal: Journal,
        postgres: Attached | Supervised,
        clock: SystemClock,
        internal_port: int,
    ) -> Applier:
        settings = self._settings
        prover = Prover(
            node=node,
            postgres=postgres,
            probe=SqlProbe(settings.connstr),
            clock=clock,
            conf_path=journal.path,
            deadlines=settings.deadlines,
        )
        context = RenderContext(
            attach=settings.attach,
            internal_port=internal_port,
            overcommit_never=_overcommit_never(),
            privileged_role=settings.privileged_role,
            token_file=str(journal.token_path),
        )
        return Applier(
            node=node,
            journal=journal,
            prover=prover,
            clock=clock,
            context=context,
            deadlines=settings.deadlines,
        )

    def _make_keeper(
        self, node: Node, journal: Journal, postgres: Attached | Supervised, clock: SystemClock
    ) -> Keeper:
        settings = self._settings
        return Keeper(
            node=node,
            postgres=postgres,
            clock=clock,
            connstr=settings.connstr,
            pgdata=settings.pgdata,
            save=lambda: journal.save(node.state),
            privileged=settings.privileged_role,
            always=not settings.attach,
            deadline_s=settings.deadlines.catalog,
            retry_max_s=settings.reconcile_interval,
        )

    def _make_monitor(
        self, node: Node, postgres: Attached | Supervised, clock: SystemClock, metrics: Metrics
    ) -> Monitor:
        def is_active(at: datetime) -> None:
            node.last_active = at

        return Monitor(
            connstr=self._settings.connstr,
            postgres=postgres,
            clock=clock,
            on_active=is_active,
            on_downtime=metrics.on_downtime,
            by_statistics=lambda: "activity_monitor_experimental" in node.features,
            interval_s=self._settings.monitor_interval,
        )

    # Running

    def _watch(self, node: Node, postgres: Attached | Supervised, store: StateStore) -> None:
        if isinstance(postgres, Attached):
            events = Events(on_ready=node.postgres_ready, on_lost=node.postgres_lost)
            self._spawn("postgres watcher", postgres.watch(events))
            return
        supervisor = Supervisor(
            node=node,
            postgres=postgres,
            deadlines=self._settings.deadlines,
            environment=lambda: _storage_token(store),
        )
        self._spawn("postgres watcher", postgres.watch(supervisor.events))
        self._spawn("supervisor", supervisor.run())

    def _spawn(self, name: str, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._task_ended)

    def _task_ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if task.cancelled() or task.exception() is None:
            return
        error = task.exception()
        logger.critical("%s died: %s", task.get_name(), error, exc_info=error)
        self._died.set()

    def _catch_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
            loop.add_signal_handler(number, self._signalled.set)

    async def _until_the_end(self, node: Node) -> None:
        """Wait for a signal, a termination, the end of Postgres, or the death of a task."""
        events = (node.ending, self._signalled, self._died)
        waiters = [asyncio.create_task(event.wait()) for event in events]
        await asyncio.wait(waiters, return_when=asyncio.FIRST_COMPLETED)
        for waiter in waiters:
            waiter.cancel()

    async def _stop_postgres(self, node: Node, postgres: Attached | Supervised) -> None:
        """Stop Postgres if somebody asked for that, or if a signal ends us and it is ours."""
        if self._signalled.is_set() and not node.terminating and not self._settings.attach:
            node.terminate("fast", who="a signal")
        if not node.terminating or node.stopped.is_set():
            return
        await postgres.stop(
            immediate=node.terminate_mode == "immediate",
            deadline_s=self._settings.deadlines.stop_fast,
        )
        if isinstance(postgres, Attached):
            node.move(Event.STOPPED, "postgres is stopped")
        else:
            await node.stopped.wait()

    async def _stop_tasks(self) -> None:
        # A cancellation that meets the end of what a `wait_for` waits for is lost: cancel again.
        end = asyncio.get_running_loop().time() + self._settings.deadlines.shutdown
        while self._tasks and asyncio.get_running_loop().time() < end:
            for task in self._tasks:
                task.cancel()
            await asyncio.wait(self._tasks, timeout=0.1)

    def _exit_code(self, node: Node) -> int:
        if self._died.is_set():
            return 1
        return node.exit_code or 0


def _overcommit_never() -> bool:
    try:
        return Path("/proc/sys/vm/overcommit_memory").read_text().strip() == "2"
    except OSError:
        return False


def _storage_token(store: StateStore) -> dict[str, str]:
    """Return the environment by which a server logs in to its pageservers."""
    token = store.token()
    return {"NEON_AUTH_TOKEN": token} if token else {}
