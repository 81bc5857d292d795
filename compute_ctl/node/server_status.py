"""What the daemon knows of Postgres beside its process."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from compute_ctl.decisions.lsn_lease import LeaseStatus
from compute_ctl.decisions.model import CatalogRun
from compute_ctl.decisions.sidecar import SidecarState
from compute_ctl.decisions.status import ClusterView


@dataclass(kw_only=True, slots=True)
class ServerStatus:
    """What is known of one server; times that are floats are monotonic seconds."""

    version: str | None = None
    """Of the data directory: the major version."""
    changed_at: float | None = None
    """When it last began or ceased to accept connections; None: not since the daemon started."""
    silent_since: float | None = None
    """Since when it has not answered over SQL; None while it does."""
    silent_because: str = ""
    probe_error: str = ""
    """Why the first of the current row of failed probes failed; empty after a good one."""
    login_refused: str = ""
    """Why a new session was refused, if settings may be the reason; empty: none was."""
    login_ms: float | None = None
    """How long the last login took; None: there was none."""
    drift_since: float | None = None
    """Since when something overrides managed settings; None while nothing does."""
    library_loaded: bool | None = None
    """Whether it has loaded neon_refresh; None: unknown yet."""
    last_active: datetime | None = None
    """When a client last did something."""
    catalog_error: str | None = None
    """Why roles, databases and extensions are not as wanted; None while they are."""
    last_catalog: CatalogRun | None = None
    """The last work on them."""
    lsn: str | None = None
    """Where the write-ahead log of a stopped primary ended."""
    cluster: ClusterView | None = None
    """How the cluster was made; None where the daemon found one."""
    sidecars: dict[str, SidecarState] = field(default_factory=dict)
    """The programs beside it that a document has named, by name."""
    lease: LeaseStatus | None = None
    """Whether the pageservers keep the LSN of a static compute; None: it is not static."""

    def makes_cluster(self, view: ClusterView) -> None:
        """Note how far the cluster is that is being made."""
        self.cluster = view

    def has_cluster(self, version: str | None) -> None:
        """Note that there is a cluster now, and its major version."""
        self.version = version

    def active(self, at: datetime) -> None:
        """Note when a client last did something."""
        self.last_active = at

    def configured(self, sidecar: SidecarState) -> None:
        """Note what became of a program beside it."""
        self.sidecars[sidecar.name] = sidecar

    def leased(self, lease: LeaseStatus | None) -> None:
        """Note whether the pageservers keep the LSN that a static compute reads at."""
        self.lease = lease

    def catalog_fails(self, reason: str | None) -> None:
        """Note why roles, databases and extensions are not as wanted; None: they are."""
        self.catalog_error = reason

    def session_refused(self, reason: str) -> None:
        """Note that a new session was refused for a reason that settings may cause."""
        self.login_refused = reason

    def probe_failed(self, reason: str) -> bool:
        """Note that SQL gave no answer; return whether it did before.

        The first reason is kept: later ones differ only in the times they name.
        """
        first = not self.probe_error
        self.probe_error = self.probe_error or reason
        return first

    def probed(self, *, login_ms: float, library_loaded: bool) -> None:
        """Note that a new session has answered."""
        self.probe_error = self.login_refused = ""
        self.login_ms, self.library_loaded = login_ms, library_loaded

    def silent(self, since: float | None, because: str = "") -> None:
        """Note whether it answers over SQL; None: it does."""
        self.silent_since, self.silent_because = since, because if since is not None else ""

    def drifts(self, now: float | None) -> None:
        """Note whether something overrides managed settings; None: nothing does."""
        self.drift_since = None if now is None else self.drift_since or now
