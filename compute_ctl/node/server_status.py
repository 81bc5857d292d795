"""What the daemon has noticed of Postgres, beside what the process itself says.

Written by whoever notices it: the watcher of the process, the monitor, the verifier, the catalog.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from compute_ctl.decisions.model import CatalogRun


@dataclass(kw_only=True, slots=True)
class ServerStatus:
    """Notes about one server; times without a date are monotonic seconds."""

    version: str | None = None
    """Of the data directory: the major version."""
    changed_at: float | None = None
    """When it began to accept connections, or ceased to; None: not since the daemon started."""
    silent_since: float | None = None
    """Since when nobody could ask it over SQL; None while it answers."""
    silent_because: str = ""
    probe_error: str = ""
    """Why the first of the looks over SQL that fail now did; empty where the last did not."""
    login_refused: str = ""
    """Why a new session was refused, where settings may be the reason; empty: none was."""
    login_ms: float | None = None
    """How long the last login took; None: there was none."""
    drift_since: float | None = None
    """Since when something has been seen to override managed settings; None while nothing does."""
    library_loaded: bool | None = None
    """Whether it has loaded ours, so that it asks by itself; None: it could not be asked yet."""
    last_active: datetime | None = None
    """When a client last did something."""
    catalog_error: str | None = None
    """Why roles, databases and extensions are not as wanted; None while they are."""
    last_catalog: CatalogRun | None = None
    """The last work on them."""
    lsn: str | None = None
    """Where the write-ahead log of a primary ended, once it has."""

    def silent(self, since: float | None, because: str = "") -> None:
        """Note whether it answers over SQL; None: it does."""
        self.silent_since, self.silent_because = since, because if since is not None else ""

    def drifts(self, now: float | None) -> None:
        """Note whether something overrides managed settings; None: nothing does."""
        self.drift_since = None if now is None else self.drift_since or now
