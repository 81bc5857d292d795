"""What has been heard of the last reload: from the server's log, and with acknowledgements."""

from __future__ import annotations

from collections.abc import Iterable

from compute_ctl.decisions.model import Written
from compute_ctl.decisions.reload_errors import SAID, Part, ReloadError


class ReloadErrors:
    """What the postmaster did not reload with the generation that is in the file."""

    def __init__(self) -> None:
        self._current: Written | None = None
        self._logged: dict[Part, str] = {}
        self._acknowledged: dict[Part, str] = {}
        self.before: frozenset[Part] = frozenset()
        """What it did not reload with other settings either, before these."""

    @property
    def heard(self) -> dict[Part, str]:
        """What was not reloaded, and what was said of it; the log says more than the library."""
        return self._acknowledged | self._logged

    def expect(self, written: Written) -> None:
        """From now on the reloads of *written* count."""
        if self._current is None or self._current.rest != written.rest:
            self.before = frozenset(self.heard)
        self._current = written
        self.reload()

    def reload(self) -> None:
        """Another reload begins."""
        self._logged, self._acknowledged = {}, {}

    def log(self, error: ReloadError) -> bool:
        """Take what the server's log says; return whether it is news of the current generation."""
        current = self._current
        if current is None or error.marker not in (None, str(current.marker)):
            return False
        news = error.part not in self.heard
        self._logged[error.part] = error.text
        return news

    def acknowledge(self, parts: Iterable[str]) -> bool:
        """Take what came with an acknowledgement of the current generation; whether it is news.

        Each counts for the last reload. The first after a reload may come before anything is
        known; what comes later then brings it.
        """
        known = {part: SAID[part] for part in Part if part in parts}
        news = not known.keys() <= self.heard.keys()
        self._acknowledged = known
        return news
