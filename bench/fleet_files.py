"""What a compute of a fleet has on disk, in memory."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from compute_ctl.decisions.persistent_state import PersistentState
from compute_ctl.decisions.proof import Complaint

CONF: Final = Path("/pgdata/compute_ctl.conf")


class Files:
    """What a compute has on disk: the live file, kept generations, state."""

    path = CONF
    token_path = Path("/pgdata/compute_ctl/storage_token")

    def __init__(self) -> None:
        self.text: str | None = None
        self._state = PersistentState()
        self._kept: dict[int, tuple[bytes, str]] = {}

    def changed_at(self) -> None:
        """Leave that unknown."""

    def check_referenced_files(self, text: str) -> None:
        """Accept all."""

    def generations(self) -> tuple[int, ...]:
        """Return none: no start fails here."""
        return ()

    def drop(self, number: int) -> None:
        """Keep it."""

    def read(self) -> str | None:
        """Return the live file."""
        return self.text

    def check(self, text: str) -> list[Complaint]:
        """Find nothing wrong."""
        del text
        return []

    def swap(self, text: str) -> None:
        """Replace the live file."""
        self.text = text

    def sync(self) -> None:
        """Take no longer than any other call."""

    def ensure_included(self) -> bool:
        """Change nothing: it is."""
        return False

    def load(self) -> PersistentState:
        """Return the state."""
        return self._state

    def save(self, state: PersistentState) -> None:
        """Keep the state."""
        self._state = state

    def put_generation(self, number: int, *, document: bytes, conf: str) -> None:
        """Keep a generation."""
        self._kept[number] = (document, conf)

    def sync_generation(self, number: int) -> None:
        """Take no longer than any other call."""

    def get_generation(self, number: int) -> tuple[bytes, str] | None:
        """Return a kept generation."""
        return self._kept.get(number)

    def has_generation(self, number: int) -> bool:
        """Return whether a generation is kept."""
        return number in self._kept

    def remake_if_lost(self) -> bool:
        """Change nothing: nobody removes it."""
        return False

    def token(self) -> str | None:
        """Return nothing: these servers ask for no password."""

    def put_token(self, token: str | None) -> None:
        """Never called with one."""

    def set_aside(self) -> Path | None:
        """Never called."""

    def highest_generation(self) -> int:
        """Return the highest number kept."""
        return max(self._kept, default=0)

    def prune(self, keep: frozenset[int]) -> None:
        """Keep all of the few there are."""

    def add_history(self, entry: Mapping[str, object]) -> None:
        """Keep no history."""

    def last_attempt(self) -> int:
        """There is no history."""
        return 0
