"""A standby of a Patroni cluster that is no member of it, with a daemon that follows or without."""

import json
import shutil
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

from devstack.daemon import Daemon
from devstack.installation import binary, free_port, give_away, make_folder, replace_file
from devstack.patroni import USER, PatroniCluster
from devstack.postgres import Postgres

Receiver = tuple[int, int, str]
"""Process, the primary's port, and state of the connection to the primary."""


class OutsideStandby:
    """One standby; use it as a context manager."""

    def __init__(
        self, cluster: PatroniCluster, *, name: str = "outside", follow: str | None = None
    ) -> None:
        """*follow*: what the daemon gets as `--patroni`; None: there is no daemon."""
        self.name = name
        self._stack = ExitStack()
        copy = make_folder("base-")
        try:
            cluster.base_backup(copy / "data")
            self.server = Postgres(copy / "data", name=name)
        finally:
            shutil.rmtree(copy, ignore_errors=True)
        with (self.server.data / "postgresql.conf").open("a") as conf:
            conf.write("include_if_exists = 'test.conf'\n")
        (self.server.data / "standby.signal").touch()
        give_away(self.server.data / "standby.signal")
        self.template = self.server.folder / "config.json"
        port = free_port()
        self.server.configure(
            {
                "wal_retrieve_retry_interval": cluster.retry_interval,
                "max_connections": 100,  # with less than the primary has, no standby starts
                "max_wal_senders": 10,
            }
        )
        self.daemon: Daemon | None = None
        if follow is not None:
            library = {"shared_preload_libraries": "neon_refresh"}
            self.server.configure({**library, "neon.extension_server_port": port})
            self.daemon = Daemon(
                pgdata=self.server.data,
                connstr=self.server.conninfo,
                port=port,
                log=self.server.folder / "compute_ctl.log",
                pgbin=binary("postgres"),
                config=self.template,
                extra=["--patroni", follow],
            )

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(self.server).start()
            if self.daemon is not None:
                self.publish(1)
                stack.enter_context(self.daemon)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def logs(self) -> dict[str, Path]:
        """Every log, by name."""
        daemon = {} if self.daemon is None else {f"daemon of {self.name}": self.daemon.log}
        return {self.name: self.server.log} | daemon

    def publish(self, generation: int, *, application: str | None = None) -> None:
        """Write the daemon's template."""
        primary = f"user={USER} application_name={application or self.name}"
        settings: list[dict[str, Any]] = [{"name": "primary_conninfo", "value": primary}]
        spec = {"mode": "Replica", "generation": generation, "cluster": {"settings": settings}}
        replace_file(self.template, json.dumps({"spec": spec}))

    def receiver(self) -> Receiver | None:
        """Return the connection to the primary, if there is one."""
        rows = self.server.query("select pid, sender_port, status from pg_stat_wal_receiver")
        return rows[0] if rows else None
