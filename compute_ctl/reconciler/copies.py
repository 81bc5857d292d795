"""The copies of generations in the state folder: what can be gone back to.

A heal does not wait for a copy: it is made after the signal, of a document that the source can
tell again. One that a crash, a full disk or a person has kept from being there is made with the
next state. All methods run in the files' thread.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

from compute_common.document.document import Document, decode_document
from compute_common.errors import SpecError
from compute_ctl.document.generation import LiveFile
from compute_ctl.errors import StoreError
from compute_ctl.ports import StateStore

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
            logger.warning("the file of generation %d is torn", number)
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
