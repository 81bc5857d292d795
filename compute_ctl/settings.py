"""The settings from command line and environment, and the deadlines."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final

from compute_common.system.unix_path import PATH_LIMIT


@dataclass(frozen=True, kw_only=True)
class Deadlines:
    """Longest waits, in seconds."""

    fetch_connect: float = 2.0
    fetch_total: float = 10.0
    check: float = 5.0
    """`postgres -C` on a candidate."""
    swap: float = 5.0
    ack: float = 2.0
    sql_probe: float = 2.0
    apply_total: float = 15.0
    """One application as a whole: check, swap, proof, saving."""
    fallback: float = 5.0
    """The fallback after a refusal."""
    configure: float = 300.0
    """After this `/configure` answers 504; the work goes on."""
    empty_grace: float = 10.0
    """Between two `empty` answers of the source, which together mean detached."""
    first_fetch: float = 3.0
    """The first fetch; after that the last known good generation is started."""
    stop_fast: float = 30.0
    """A fast stop of Postgres; after that SIGQUIT."""
    stop_safekeepers: float = 20.0
    """Until the safekeepers agree where the log of a primary that has ended ends."""
    start_postgres: float = 60.0
    """Until a started Postgres has read its files and loaded its libraries."""
    replay: float = 60.0
    """Until a standby has replayed the log up to where it is to be promoted, unless told."""
    promote: float = 60.0
    """`pg_promote`."""
    catalog: float = 300.0
    """One run of the work on roles, databases and extensions."""
    failed_start: float = 30.0
    """Waiting for a refresh or /configure after a failed start; then the daemon exits."""
    shutdown: float = 5.0
    """The end of the daemon itself, after Postgres has stopped."""

    @property
    def attempt(self) -> float:
        """One attempt: fetch, application and fallback."""
        return self.fetch_total + self.apply_total + self.fallback


class Init(StrEnum):
    """What `--init` asks for."""

    AUTO = "auto"
    """A base backup where the document names tenant, timeline and pageservers; else initdb."""
    BASEBACKUP = "basebackup"
    """A base backup; the data directory is empty, or made from one by this daemon before."""
    INITDB = "initdb"
    NONE = "none"
    """The data directory has to hold a cluster."""

    @property
    def renews(self) -> bool:
        """Whether a cluster made from a backup is made anew at each start.

        Without its storage its pages are of the past: the newest are the pageserver's.
        """
        return self in (Init.AUTO, Init.BASEBACKUP)


SOCKET_NAME: Final = "ctl.sock"
"""The unix socket of the API, in the state folder."""


def worker_endpoint(state_path: Path) -> str | None:
    """Return the `neon_refresh.endpoint` for that socket.

    None where the path is too long for a socket: the worker then uses the loopback port.
    """
    path = str((state_path / SOCKET_NAME).absolute())
    return f"unix:{path}" if len(os.fsencode(path)) <= PATH_LIMIT and path.isprintable() else None


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of one daemon."""

    pgdata: Path
    connstr: str
    """libpq conninfo or URL of a superuser connection to the managed server."""
    compute_id: str
    attach: bool = False
    """Somebody else starts and stops Postgres; the daemon owns `compute_ctl.conf` only."""
    config_path: Path | None = None
    """`-c`: the document is read from this file at each refresh."""
    control_plane_uri: str | None = None
    """`-p`: the document is pulled from this control plane."""
    control_plane_token: str = field(default="", repr=False)
    """NEON_CONTROL_PLANE_TOKEN; sent as a bearer token, never logged."""
    control_plane_ca: Path | None = None
    """PEM file of the authorities trusted for the control plane instead of the system's."""
    patroni: str | None = None
    """`--patroni`: the primary is the leader of this cluster, the document a template."""
    init: Init = Init.AUTO
    """How the cluster of an empty data directory is made."""
    pgbin: str = "postgres"
    """The server binary (`-b`)."""
    config_file: Path | None = None
    """Attach: the main configuration file, where postmaster.opts does not tell."""
    state_dir: Path | None = None
    """Where generations and the socket live; default `<pgdata>/compute_ctl`."""
    external_http_port: int = 3080
    """The port for callers with a token, on all addresses; 0 disables it."""
    internal_http_port: int = 3081
    """The loopback port; 0 picks a free one (logged)."""
    tokens_need_exp: bool = True
    """The external port refuses a token that never expires."""
    extensions_on_loopback: bool = False
    """`/extensions` and `/grants` are served to any local process, as the reference does."""
    socket_group: str | None = None
    """Group that may use the unix socket (then mode 0660)."""
    privileged_role: str = "neon_superuser"
    """All roles of a document are members of this role."""
    max_settings: int = 1000
    """A document with more settings is refused."""
    max_roles: int = 10_000
    max_databases: int = 10_000
    lakebase_mode: bool = False
    """The privileged role may not replicate, as in Neon's mode of this name."""
    monitor_interval: float = 1.0
    """Seconds between two queries for activity of clients."""
    installed_extensions_interval: float = 3600.0
    """Seconds between two counts of the extensions in all databases."""
    instance_id: str | None = None
    """INSTANCE_ID: only a label of a metric."""
    refresh_min_interval: float = 0.02
    """Least seconds between two fetches."""
    reconcile_interval: float = 300.0
    """Seconds between two periodic fetches."""
    log_format: str = "human"
    """`human` or `json`."""
    log_level: str = "info"
    """`debug`, `info`, `warning` or `error`."""
    deadlines: Deadlines = field(default_factory=Deadlines)

    @property
    def state_path(self) -> Path:
        """The state folder."""
        return self.state_dir or self.pgdata / "compute_ctl"

    @property
    def conf_path(self) -> Path:
        """The configuration file that the daemon owns."""
        return self.pgdata / ("compute_ctl.conf" if self.attach else "postgresql.conf")
