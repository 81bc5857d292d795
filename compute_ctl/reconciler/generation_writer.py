"""Writes generations, in the thread of the files: copy ▸ token ▸ live file."""

from __future__ import annotations

import logging
from collections.abc import Callable

from compute_common.errors import SettingsError
from compute_common.system import failpoint
from compute_ctl.decisions.persistent_state import PersistentState, highest_generation
from compute_ctl.document.generation import LiveFile, Marker, file_text
from compute_ctl.ports import ConfStore, StateStore
from compute_ctl.reconciler.copies import Copy, GenerationCopies

logger = logging.getLogger(__name__)


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
