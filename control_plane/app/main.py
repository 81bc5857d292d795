"""The control plane from start to end: it owns every object and task, and stops them in order.

Order of the start: the store is opened, and slow modules are imported meanwhile ▸ its content is
read ▸ listeners ▸ loops. Order of the end: held requests are answered ▸ listeners ▸ loops ▸ store.
A task that dies is an error that ends the process: systemd starts it again, and nothing that was
answered is lost.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Final

from compute_common import log
from compute_common.errors import SettingsError
from compute_common.system.authorities import without_authorities
from compute_common.system.blocking_worker import BlockingWorker, exit_within
from compute_common.system.sd_notify import READY, STOPPING, Notifier
from compute_common.system.tasks import Tasks
from compute_common.system.watchdog import Watchdog
from control_plane.app.allocator import use_one_arena
from control_plane.app.certificates import load_certificate, tls_context
from control_plane.app.open_files import Room, make_room
from control_plane.settings import Settings
from control_plane.store.opening import open_store

if TYPE_CHECKING:
    from control_plane.app.service import Service

logger = logging.getLogger(__name__)

THREADS: Final = 8
"""Threads for name lookups and other short work that asyncio itself runs in threads."""
END_S: Final = 2.0
"""The end of the process, after a signal."""
GC_OBJECTS: Final = 50_000
"""New objects between two runs of the garbage collector: with Python's 700 it took a quarter of the
processor time while thousands of computes got a document."""
FOLDER_MODE: Final = 0o700


def run(settings: Settings) -> int:
    """Run until a signal; return the exit status.

    Raises:
        SettingsError: it cannot start like this.
        StoreError: the store cannot be read.
    """
    use_one_arena()
    gc.disable()  # until the end of the start, which makes next to no garbage
    log.configure(settings.log_format, level=settings.log_level)
    _make_folder(settings.state_folder)
    return asyncio.run(_ControlPlane(settings, make_room(settings)).main())


class _ControlPlane:
    """The running process."""

    def __init__(self, settings: Settings, room: Room) -> None:
        self._settings = settings
        self._room = room
        self._tls = tls_context(settings)
        self._tasks = Tasks()
        self._stopped = asyncio.Event()

    async def main(self) -> int:
        """Start everything, wait for a reason to stop, stop everything."""
        asyncio.get_running_loop().set_default_executor(BlockingWorker("worker", threads=THREADS))
        with without_authorities():
            opening = asyncio.create_task(open_store(self._settings.store))
            await asyncio.sleep(
                0
            )  # lets it begin: its thread opens the store while this one imports
            from control_plane.app.service import make_service

            store = await opening
        try:
            service = make_service(self._settings, store, room=self._room, tls=self._tls)
            return await self._serve(service)
        finally:
            await store.close()

    async def _serve(self, service: Service) -> int:
        notifier = Notifier.from_environment()
        await service.parts.registry.load()
        self._catch_signals()
        watchdog = Watchdog(notifier)
        watchdog.start()
        try:
            await service.server.start()
            for name, work in service.parts.loops():
                self._tasks.spawn(name, work)
            gc.freeze()  # what is here now stays: the collector need not look at it again
            gc.set_threshold(GC_OBJECTS)
            gc.enable()
            notifier.send(READY)
            await self._until_the_end()
            notifier.send(STOPPING)
        finally:
            exit_within(END_S, self._exit_code)
            await service.stop(0.6 * END_S / 2)
            await self._tasks.stop(0.2 * END_S)
            await service.adapters.close()
            watchdog.close()
        return self._exit_code()

    async def _until_the_end(self) -> None:
        """Wait for a signal, or the death of a task."""
        waiters = [asyncio.create_task(it.wait()) for it in (self._stopped, self._tasks.died)]
        await asyncio.wait(waiters, return_when=asyncio.FIRST_COMPLETED)
        for waiter in waiters:
            waiter.cancel()

    def _catch_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopped.set)
        loop.add_signal_handler(signal.SIGHUP, self._reload_certificate)

    def _reload_certificate(self) -> None:
        """Use a renewed certificate for connections from now on."""
        cert, key = self._settings.tls_cert, self._settings.tls_key
        if self._tls is None or cert is None or key is None:
            return
        try:
            load_certificate(self._tls, cert, key)
        except SettingsError as error:
            logger.error("could not load the certificate again, keeping the one in use: %s", error)
        else:
            logger.info("certificate loaded again")

    def _exit_code(self) -> int:
        return 1 if self._tasks.died.is_set() else 0


def _make_folder(folder: Path) -> None:
    """Make the state folder, for this user only. Raises SettingsError."""
    try:
        folder.mkdir(mode=FOLDER_MODE, exist_ok=True)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise SettingsError(f'could not make the folder "{folder}": {reason}') from error
