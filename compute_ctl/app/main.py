"""The daemon from start to end: it owns every object and task, and stops them in order.

Order of the start: become the owner of the data directory ▸ lock it and the state folder ▸ open the
HTTP listeners ▸ reconciler. Order of the end: no new requests ▸ Postgres, where it is ours ▸ tasks
▸ listeners. A task that dies is an error that ends the daemon: systemd starts it again, Postgres
runs on.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import random
import signal
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from compute_common.http.limits import ConnectionLimits
from compute_common.system.blocking_worker import BlockingWorker, exit_within
from compute_common.system.file_limit import raise_file_limit
from compute_common.system.sd_notify import READY, STOPPING, Notifier
from compute_common.system.tasks import Tasks
from compute_common.system.watchdog import Watchdog
from compute_ctl import __version__
from compute_ctl.app.assembly import Assembly, SystemClock
from compute_ctl.app.cluster_parts import (
    ask_safekeepers,
    build_cluster_start,
    storage_environment,
)
from compute_ctl.app.folder_watch import FolderWatch
from compute_ctl.app.lease_parts import build_leases
from compute_ctl.app.lfc_parts import build_file_cache
from compute_ctl.app.sidecar_parts import build_sidecars
from compute_ctl.app.source_parts import build_source
from compute_ctl.app.supervisor import Supervisor, shutdown_lsn
from compute_ctl.bootstrap.data_directory import DataDirectory
from compute_ctl.catalog import CatalogReconciler
from compute_ctl.monitoring.metrics import Metrics
from compute_ctl.monitoring.observers import History, SystemdStatus
from compute_ctl.monitoring.reporter import Reporter
from compute_ctl.node import Node
from compute_ctl.postgres import Attached, Events, Supervised
from compute_ctl.postgres.identity import major_version
from compute_ctl.privileges import become_owner, hide_memory
from compute_ctl.reconciler.generations import GenerationStore
from compute_ctl.settings import Settings
from compute_ctl.sources.control_plane import ControlPlane
from compute_ctl.sources.file import FileSource
from compute_ctl.store.pgdata_lock import lock_pgdata
from compute_ctl.store.state_dir import StateDir

logger = logging.getLogger(__name__)

THREADS: Final = 8
"""Threads for name lookups and other short work that asyncio itself runs in threads."""
FILES_KEPT: Final = 40
"""Descriptors kept from the listeners' connections for everything else that the daemon opens."""
STOPPED_WITHIN_S: Final = 1.0
"""How long the supervisor may take to report the server's exit to the node."""


def run(settings: Settings) -> int:
    """Run the daemon until it ends; return the exit status.

    Raises:
        SettingsError: it cannot start like this; nothing was changed.
    """
    files = raise_file_limit()
    become_owner(settings.pgdata)
    hide_memory()
    return asyncio.run(_App(settings, files=files).main())


class _App:
    """The running daemon."""

    def __init__(self, settings: Settings, *, files: int) -> None:
        """*files*: how many may be open."""
        self._settings = settings
        self._limits = ConnectionLimits(
            connections=min(ConnectionLimits().connections, (files - FILES_KEPT) // 3)
        )
        self._make = Assembly(settings)
        self._tasks = Tasks()
        self._signalled = asyncio.Event()

    async def main(self) -> int:
        """Start everything, wait for a reason to stop, stop everything."""
        settings = self._settings
        postgres = self._make.postgres()
        if isinstance(postgres, Supervised):
            DataDirectory(settings.pgdata, settings.state_path).accept(settings.init)
        store = StateDir(settings.state_path)
        store.open()
        try:
            with lock_pgdata(settings.pgdata):
                return await self._serve(postgres, store)
        finally:
            if isinstance(postgres, Supervised):
                postgres.close()
            store.close()

    async def _serve(self, postgres: Attached | Supervised, store: StateDir) -> int:
        settings, clock = self._settings, SystemClock()
        asyncio.get_running_loop().set_default_executor(BlockingWorker("worker", threads=THREADS))
        notifier = Notifier.from_environment()
        metrics = Metrics(instance_id=settings.instance_id, compute_id=settings.compute_id)
        node = Node(
            clock=clock,
            postgres=postgres,
            server_version=major_version(settings.pgdata),
            document_file=str(settings.config_path.absolute()) if settings.config_path else None,
        )
        node.subscribe(metrics)
        source = build_source(settings, metrics)
        file_cache = build_file_cache(node, postgres, metrics, connstr=settings.connstr)
        http_server = self._make.http_server(node, metrics, file_cache, self._limits)
        await http_server.start()
        generations = self._make.generations(store, node)
        node.subscribe(History(generations.add_history))
        catalog = self._make.catalog(node, generations, postgres, clock)
        parts = self._make.reconciler(
            node=node,
            store=generations,
            postgres=postgres,
            source=source,
            catalog=catalog,
            clock=clock,
            internal_port=http_server.internal_port,
        )
        if isinstance(source, ControlPlane):
            reporter = Reporter(
                node=node,
                receiver=source,
                clock=clock,
                version=__version__,
                jitter=random.SystemRandom().random,
            )
            node.subscribe(reporter)
            self._tasks.spawn("reports", reporter.run())
        watchdog = Watchdog(notifier)
        watchdog.start()
        self._catch_signals()
        await parts.recovery.restore()
        self._tasks.spawn("reconciler", parts.reconciler.run())
        self._tasks.spawn("catalog", catalog.run())
        watch = FolderWatch(node=node, store=generations, http_server=http_server)
        self._tasks.spawn("folder watch", watch.run())
        self._tasks.spawn("ports", http_server.run())
        self._tasks.spawn("file cache", file_cache.run())
        leases = build_leases(node, store, clock)
        node.subscribe(leases)
        self._tasks.spawn("leases", leases.run())
        self._measure(node, postgres, metrics)
        self._watch(node, postgres, store, catalog, generations)
        gc.enable()
        notifier.send(READY)
        node.subscribe(SystemdStatus(notifier))
        try:
            await self._until_the_end(node)
            notifier.send(STOPPING)
            await self._stop_postgres(node, postgres)
        finally:
            left = self._end(node)
            await self._tasks.stop(left(0.4))
            await http_server.stop(left(0.5))
            if not isinstance(source, FileSource):
                await source.close()
            await generations.close(left(0.8))
            watchdog.close()
        return self._exit_code(node)

    def _end(self, node: Node) -> Callable[[float], float]:
        """Start to shut down; return a function that gives a share of the seconds left."""
        clock, limit = asyncio.get_running_loop().time, self._settings.deadlines.shutdown
        end = clock() + limit
        exit_within(limit, lambda: self._exit_code(node))
        return lambda portion: portion * max(0.0, end - clock())

    def _measure(self, node: Node, postgres: Attached | Supervised, metrics: Metrics) -> None:
        make, clock = self._make, SystemClock()
        self._tasks.spawn("monitor", make.monitor(node, postgres, clock, metrics).run())
        self._tasks.spawn("extensions", make.extension_count(node, postgres, metrics).run())
        self._tasks.spawn("audit log", make.audit_log(node, metrics).run())
        sidecars = build_sidecars(node, postgres, clock, attach=self._settings.attach)
        node.subscribe(sidecars)
        self._tasks.spawn("sidecars", sidecars.run())

    def _watch(
        self,
        node: Node,
        postgres: Attached | Supervised,
        store: StateDir,
        catalog: CatalogReconciler,
        generations: GenerationStore,
    ) -> None:
        if isinstance(postgres, Attached):
            events = Events(on_ready=node.postgres_ready, on_lost=node.postgres_lost)
            self._tasks.spawn("postgres watcher", postgres.watch(events))
            return
        cluster = build_cluster_start(
            self._settings,
            node=node,
            postgres=postgres,
            state=store,
            store=generations,
            clock=SystemClock(),
        )
        node.subscribe(cluster)
        supervisor = Supervisor(
            node=node,
            postgres=postgres,
            deadlines=self._settings.deadlines,
            environment=lambda: storage_environment(store),
            before_start=catalog.before_start,
            make_cluster=cluster.make,
            ask_safekeepers=lambda: ask_safekeepers(self._settings, node=node, state=store),
        )
        self._tasks.spawn("postgres watcher", postgres.watch(supervisor.events))
        self._tasks.spawn("supervisor", supervisor.run())

    def _catch_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
            loop.add_signal_handler(number, self._signalled.set)

    async def _until_the_end(self, node: Node) -> None:
        """Wait for a signal, a termination, the end of Postgres, or the death of a task."""
        events = (node.terminating_event, self._signalled, self._tasks.died)
        waiters = [asyncio.create_task(event.wait()) for event in events]
        await asyncio.wait(waiters, return_when=asyncio.FIRST_COMPLETED)
        for waiter in waiters:
            waiter.cancel()

    async def _stop_postgres(self, node: Node, postgres: Attached | Supervised) -> None:
        """Stop Postgres if that was requested, or if a signal stops us and we started it."""
        if self._signalled.is_set() and not node.terminating and not self._settings.attach:
            node.terminate("fast", who="a signal")
        if not node.terminating or node.stopped.is_set():
            return
        if isinstance(postgres, Attached):
            await self._stop_once(node, postgres)
            lsn = shutdown_lsn(node, postgres, attach=True)
            node.postgres_ended("postgres is stopped", lsn=lsn)
            return
        while not node.stopped.is_set():
            await self._stop_once(node, postgres)
            with suppress(TimeoutError):  # then it was about to be started
                await asyncio.wait_for(node.stopped.wait(), STOPPED_WITHIN_S)

    async def _stop_once(self, node: Node, postgres: Attached | Supervised) -> None:
        """Stop the server: fast, and immediately as soon as that is requested."""
        if not node.immediate_stop.is_set():
            fast = asyncio.create_task(postgres.stop(deadline_s=self._settings.deadlines.stop_fast))
            hurry = asyncio.create_task(node.immediate_stop.wait())
            await asyncio.wait({fast, hurry}, return_when=asyncio.FIRST_COMPLETED)
            hurry.cancel()
            if not fast.cancel():
                return fast.result()
        return await postgres.stop(immediate=True)

    def _exit_code(self, node: Node) -> int:
        if self._tasks.died.is_set():
            return 1
        return node.exit_code or 0
