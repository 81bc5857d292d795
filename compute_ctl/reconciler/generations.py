"""The files of the daemon, written in one order that survives kill -9 at any point.

g/<G>.json and g/<G>.conf ▸ live file (temp, fsync, rename) ▸ SIGHUP (the caller's) ▸ fsync of
everything else ▸ state.json. In a hurry the copy in g/ comes after the signal. The live file is the
journal: its last line says which generation it is. Everything runs in one thread, so a write that
hangs on the disk is never overtaken by a later one.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from compute_common.document.document import Document
from compute_common.document.versions import Version
from compute_common.system import failpoint
from compute_common.system.blocking_worker import BlockingWorker
from compute_ctl.decisions.model import Written
from compute_ctl.decisions.persistent_state import (
    ClusterIdentity,
    PersistentState,
)
from compute_ctl.decisions.proof import Complaint
from compute_ctl.document.generation import LiveFile, Marker, file_text
from compute_ctl.errors import StoreError
from compute_ctl.ports import ConfStore, StateStore
from compute_ctl.reconciler.budget import share
from compute_ctl.reconciler.generation_writer import Copy, GenerationCopies, GenerationWriter
from compute_ctl.settings import Deadlines

logger = logging.getLogger(__name__)
T = TypeVar("T")


class GenerationStore:
    """The live file and the state folder, off the event loop and with deadlines."""

    def __init__(
        self,
        *,
        conf: ConfStore,
        state: StateStore,
        identity: ClusterIdentity,
        deadlines: Deadlines,
        nonce: Callable[[], str],
        on_kept: Callable[[PersistentState, str], None] = lambda _state, _reason: None,
    ) -> None:
        """*on_kept* is given each state that is on disk now, or why the disk did not take it."""
        self._conf = conf
        self._state = state
        self._identity = identity
        self._deadlines = deadlines
        self._on_kept = on_kept
        self._saved: PersistentState | None = None
        self.held: frozenset[int] = frozenset()
        """Generations to keep beside those that the state names."""
        self._copies = GenerationCopies(state)
        self._writer = GenerationWriter(conf, state, self._copies, nonce)
        self._not_kept = ""
        """Why the last state was not kept."""
        self._worker = BlockingWorker("files", idle_s=None)

    @property
    def path(self) -> str:
        """The live file."""
        return str(self._conf.path)

    @property
    def token_path(self) -> Path:
        """The file with the storage token, where there is one."""
        return self._state.token_path

    async def _call(self, call: Callable[[], T], timeout_s: float | None = None) -> T:
        limit = share(timeout_s or self._deadlines.swap)
        try:
            return await self._worker.run(call, within_s=limit, queue=True)
        except TimeoutError:
            raise StoreError(f"the disk did not answer within {limit:g} s") from None

    async def close(self, within_s: float) -> None:
        """Let the thread finish what is queued, such as history, for *within_s* at most."""
        try:
            await self._worker.run(lambda: None, within_s=within_s, queue=True)
        except TimeoutError:
            logger.warning("the disk did not answer within %g s, going on without it", within_s)
        self._worker.shutdown(cancel_futures=True)

    def identify(self, identity: ClusterIdentity) -> None:
        """The files are of this cluster, which was made meanwhile."""
        self._identity = identity

    async def token(self) -> str | None:
        """Return the storage token that Postgres uses now. Raises StoreError."""
        return await self._call(self._state.token)

    async def load(self) -> PersistentState:
        """Return what an earlier daemon knew of this cluster; another's is set aside."""
        return await self._call(self._load)

    def _load(self) -> PersistentState:
        state = self._state.load()
        if not self._identity.matches(state):
            aside = self._state.set_aside()
            other = self._identity.differs(state)
            logger.warning('the state is of another compute (%s), moved it to "%s"', other, aside)
            state = PersistentState()
        return self._identity.stamp(state.migrated)

    async def last_attempt(self) -> int:
        """Return the number of the last attempt that the history knows. Raises StoreError."""
        return await self._call(self._state.last_attempt)

    async def live(self) -> LiveFile | None:
        """Return the live file, None if there is none. Raises StoreError."""
        text = await self._call(self._conf.read)
        return None if text is None else LiveFile.parse(text)

    async def live_changed_at(self) -> datetime | None:
        """Return when the live file was last replaced or touched, None if unknown."""
        return await self._call(self._conf.changed_at)

    async def live_is_gone(self) -> bool:
        """Return whether there is no live file. Raises StoreError."""
        return not await self._call(self._conf.path.exists)

    async def kept(self, generation: int) -> tuple[Document | None, LiveFile] | None:
        """Return a kept generation; without its document where that cannot be read any more.

        None where its file is gone, or torn by a power failure.
        """
        try:
            return await self._call(lambda: self._copies.get(generation))
        except StoreError as error:
            logger.warning("could not read generation %d: %s", generation, error)
            return None

    async def all_kept(self) -> list[tuple[int, Document | None, LiveFile]]:
        """Return all kept generations that can be read, the newest first."""
        try:
            numbers = await self._call(self._state.generations)
        except StoreError as error:
            logger.warning("%s", error)
            return []
        found = [(number, await self.kept(number)) for number in numbers]
        return [(number, *kept) for number, kept in found if kept is not None]

    async def drop(self, number: int) -> None:
        """Drop the copy of a generation that no server came up with."""
        try:
            await self._call(lambda: self._state.drop(number))
        except StoreError as error:
            logger.warning("%s", error)

    async def check_referenced_files(self, body: str) -> None:
        """Refuse a *body* that includes or names what is no regular file.

        Raises:
            SpecError: it does.
            StoreError: the disk does not answer.
        """
        await self._call(lambda: self._conf.check_referenced_files(body))

    async def check(self, body: str) -> tuple[Complaint, ...]:
        """Ask the server's binary what it thinks of *body*."""
        call = self._call(lambda: self._conf.check(body), self._deadlines.check + 1.0)
        return tuple(await call)

    async def install(
        self,
        body: str,
        *,
        document: bytes,
        token: str | None,
        state: PersistentState,
        hurry: bool = False,
    ) -> Marker:
        """Make *body* the live file, as the next generation; return its marker.

        *token* is the storage token that goes with it, for a file of its own. After the signal,
        call `after_signal`. In a *hurry* the copy is left to that: queries wait, and the source can
        tell the document again.

        Raises:
            StoreError: the old file is still in force, as far as is known.
        """
        return await self._call(
            lambda: self._writer.install(body, document, token, state, hurry=hurry)
        )

    async def after_signal(self) -> bool:
        """Do what `install` leaves for after the signal; return whether one more is needed.

        The generation is kept, and where nothing included the live file, the main file does now.
        """
        try:
            return await self._call(self._writer.after_signal)
        except StoreError as error:
            logger.warning("%s", error)
            return False

    async def include(self) -> bool:
        """Make the main file include ours again, where somebody wrote it anew; whether one did."""
        return await self._call(self._writer.include)

    async def remake(self) -> bool:
        """Make the state folder again if somebody has removed it; whether `save` is to fill it.

        Raises:
            SettingsError: it cannot be made.
            StoreError: the disk does not answer.
        """
        if not await self._call(self._state.remake_if_lost):
            return False
        logger.warning("the state folder was gone, made it again")
        self._saved = None
        return True

    async def mend(self, written: Written, floor: Version | None) -> bool:
        """Write the live file again if it is not *written* any more; return whether it was not.

        Raises:
            StoreError: it cannot be read, or written.
        """
        if written.is_in(await self.live()):
            return False
        logger.warning('file "%s" is not as it was written, writing it again', self.path)
        await self.reinstate(LiveFile(marker=written.marker, body=written.body, floor=floor))
        return True

    async def reinstate(self, live: LiveFile) -> None:
        """Write a kept generation again, as it was. Raises StoreError."""
        if live.marker is not None:
            text = file_text(live.body, live.marker, live.floor)
            await self._call(lambda: self._conf.swap(text))

    def adopt(
        self,
        body: str,
        marker: Marker,
        *,
        document: bytes,
        token: str | None,
        state: PersistentState,
    ) -> None:
        """Record that another document renders to the live file; the next `save` stores it."""
        conf = file_text(body, marker, state.floor)
        number = marker.generation
        self._copies.adopt(Copy(number=number, document=document, conf=conf, token=token))

    def adopt_live(self, generation: int) -> None:
        """Take over the live file of an earlier daemon, which may have died before `sync`."""
        self._copies.unsynced = generation

    async def sync(self) -> None:
        """Make the last swap durable; a failure is only logged, the file is in force already."""
        failpoint.reach("before-sync")
        try:
            await self._call(self._conf.sync)
            await self._call(self._copies.sync)
        except StoreError as error:
            logger.warning("%s", error)

    async def save(self, state: PersistentState) -> None:
        """Keep *state*; a failure is logged once, and shown: the next save may mend it.

        What is kept already is not written again: while an outage lasts, nothing changes but time.
        """
        reason = ""
        try:  # before the state that names it: the source may not have this document any more
            await self._call(self._copies.write_missing)
        except StoreError as error:
            reason = str(error)
        if state != self._saved:
            reason = await self._save(state) or reason
        if reason not in ("", self._not_kept):
            logger.warning("%s", reason)
        self._not_kept = reason
        self._on_kept(state, reason)

    async def _save(self, state: PersistentState) -> str:
        """Replace the state; return why that could not be done."""
        if self._copies.unsynced is not None:  # what a state names must be there as long as it is
            await self.sync()
        failpoint.reach("before-save")
        keep = self.held | {fact.generation for fact in state.named}
        try:
            await self._call(lambda: self._state.save(state))
            self._saved = state
            failpoint.reach("after-save")
            await self._call(lambda: self._state.prune(keep))
        except StoreError as error:
            return str(error)
        return ""

    def add_history(self, entry: dict[str, object]) -> None:
        """Append to the advisory history, in the thread; does not wait for it."""
        self._worker.submit(self._state.add_history, entry)
