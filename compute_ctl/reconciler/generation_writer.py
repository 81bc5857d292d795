"""Writes generations, in the thread of the files: copy ▸ token ▸ live file.

A heal does not wait for the copy in the state folder: it is made after the signal, of a document
that the source can tell again. A copy that a crash or a full disk has prevented, or that somebody
has removed, is made with the next state.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from compute_common.document.document import Document, decode_document
from compute_common.errors import SettingsError, SpecError
from compute_common.system import failpoint
from compute_ctl.decisions.persistent_state import PersistentState, highest_generation
from compute_ctl.document.generation import LiveFile, Marker, file_text
from compute_ctl.errors import StoreError
from compute_ctl.ports import ConfStore, StateStore

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Copy:
    """A generation as it is to be kept."""

    number: int
    document: bytes
    conf: str
    token: str | None


class GenerationCopies:
    """The generations that are kept, and the newest, which is to be."""

    def __init__(self, state: StateStore) -> None:
        self._state = state
        self.newest: Copy | None = None
        """The generation in the live file, where it is known what it was written for."""
        self._replacing: Copy | None = None
        """To be kept in place of one with an earlier document, which made the same file."""
        self.unsynced: int | None = None
        """A generation whose copy may not survive a power failure yet."""

    def get(self, number: int) -> tuple[Document | None, LiveFile] | None:
        """Return a kept generation; without its document where that cannot be read any more.

        None where its file is gone, or torn by a power failure.
        """
        found = self._state.get_generation(number)
        if found is None:
            return None
        live = LiveFile.parse(found[1])
        if not live.intact:
            logger.warning("the file of generation %d is incomplete", number)
            return None
        try:
            return decode_document(found[0]), live
        except SpecError as error:
            logger.warning("the document of generation %d cannot be read: %s", number, error)
            return None, live

    def adopt(self, copy: Copy) -> None:
        """Keep the live file's generation with another document that makes the same file."""
        self.newest = self._replacing = copy

    def put(self, copy: Copy) -> None:
        """Keep a generation; a failure is only logged."""
        try:
            self._put(copy)
        except StoreError as error:
            logger.warning("generation %d is not kept: %s", copy.number, error)

    def _put(self, copy: Copy) -> None:
        self._state.put_generation(copy.number, document=copy.document, conf=copy.conf)
        self.unsynced = copy.number

    def write_missing(self) -> None:
        """Keep what could not be kept when it was written, or has been removed since.

        Raises StoreError.
        """
        newest = self.newest
        if newest is None:
            return
        if self._state.has_generation(newest.number) and newest is not self._replacing:
            return
        if newest.token != self._state.token():
            self._state.put_token(newest.token)
        self._put(newest)
        self.sync()
        if newest is not self._replacing:
            logger.info("generation %d is kept now", newest.number)
        self._replacing = None

    def sync(self) -> None:
        """Have the last copy survive a power failure, if there is one. Raises StoreError."""
        if self.unsynced is not None and self._state.has_generation(self.unsynced):
            self._state.sync_generation(self.unsynced)
        self.unsynced = None


class GenerationWriter:
    """Replaces the live file, and has the main file include it; every method blocks."""

    def __init__(
        self,
        conf: ConfStore,
        state: StateStore,
        copies: GenerationCopies,
        nonce: Callable[[], str],
    ) -> None:
        self._conf = conf
        self._state = state
        self._copies = copies
        self._nonce = nonce
        self._late: Copy | None = None
        """What `install` has left to `after_signal`."""
        self._last_number: int | None = None
        """Of the last generation, once it is known."""
        self._not_included = ""
        """Why the main file could not be made to include ours; said once."""

    def install(
        self,
        body: str,
        document: bytes,
        token: str | None,
        state: PersistentState,
        *,
        hurry: bool,
    ) -> Marker:
        """Make *body* the live file, as the next generation; return its marker.

        In a *hurry* its copy is left to `after_signal`. Raises StoreError.
        """
        number = self._next_number(state)
        marker = Marker.of(generation=number, nonce=self._nonce(), body=body)
        new = file_text(body, marker, state.floor)
        copy = Copy(number=number, document=document, conf=new, token=token)
        failpoint.reach("before-generation")
        self._late = copy if hurry else None
        if not hurry:
            self._copies.put(copy)
        failpoint.reach("before-token")
        if token != self._state.token():
            self._state.put_token(token)
        failpoint.reach("before-swap")
        self._conf.swap(new)
        self._copies.newest = copy
        failpoint.reach("before-signal")
        return marker

    def after_signal(self) -> bool:
        """Do what `install` has left; return whether the server is to read its files once more."""
        added = self.include()
        failpoint.reach("before-late-generation")
        if self._late is not None:
            self._copies.put(self._late)
        return added

    def _next_number(self, state: PersistentState) -> int:
        if self._last_number is None:
            text = self._conf.read()
            self._last_number = highest_generation(
                live=LiveFile.parse(text).marker if text is not None else None,
                state=state,
                kept=self._state.highest_generation(),
            )
        self._last_number += 1
        return self._last_number

    def include(self) -> bool:
        """Make the main file include ours, if it does not; return whether that was needed."""
        try:
            added = self._conf.ensure_included()
        except SettingsError as error:
            if str(error) != self._not_included:
                logger.warning("%s (%s)", error, error.hint)
            self._not_included = str(error)
            return False
        self._not_included = ""
        if added:
            logger.warning('nothing included "%s" any more, added the line again', self._conf.path)
        return added
