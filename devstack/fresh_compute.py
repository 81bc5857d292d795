"""A compute that starts from nothing: an empty data directory, a document, and pageservers.

The pageservers serve the base backup and the pages of a stored cluster, whose server has ended.
"""

import json
import shutil
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import psycopg

from devstack.compute import SCAN, TENANT, TIMELINE, make_page_functions
from devstack.daemon import Daemon
from devstack.document import attached
from devstack.installation import binary, free_port, give_away, make_folder, replace_file
from devstack.launch import Pageserver, start_pageserver
from devstack.postgres import Postgres, Template

ROWS = 2_000


class StoredCluster:
    """A cluster with a table `story`, shut down; `data` is what a pageserver serves."""

    def __init__(self, template: Template) -> None:
        self._postgres = Postgres(template, name="stored")
        self._postgres.configure({"shared_preload_libraries": "neon_refresh"})
        with self._postgres.start().connect() as session:
            session.execute("create extension neon_refresh")
            make_page_functions(session)
            session.execute(
                "create table story as "
                f"select n, repeat('x', 20) as filler from generate_series(1, {ROWS}) as n"
            )
            session.execute("vacuum (freeze) story")
            row = session.execute("select pg_relation_size('story') / 8192").fetchone()
        assert row is not None
        self._postgres.stop()
        self.data = self._postgres.data
        self.scan = SCAN.format(last=row[0] - 1, table="story")
        """Counts the rows of the table, reading every page through the pageservers."""

    def remove(self) -> None:
        """Delete it."""
        self._postgres.remove()


class FreshCompute:
    """One such compute; use it as a context manager, which removes it at its end."""

    def __init__(
        self,
        stored: StoredCluster,
        *,
        data: Path | None = None,
        pgbin: str | None = None,
        options: Sequence[str] = (),
    ) -> None:
        self._stack = ExitStack()
        self._generation = 0
        self.stored = stored
        self.folder = make_folder("fresh-")
        self.data = data or self.folder / "data"
        self.data.mkdir(mode=0o700, exist_ok=True)
        give_away(self.data)
        self.config = self.folder / "config.json"
        self.pg_port = free_port()
        self.port = free_port()
        self.connstr = f"host={self.folder} port={self.pg_port} user=postgres dbname=postgres"
        self.daemon = Daemon(
            pgdata=self.data,
            connstr=self.connstr,
            port=self.port,
            log=self.folder / "compute_ctl.log",
            pgbin=pgbin or binary("postgres"),
            config=self.config,
            attach=False,
            extra=options,
        )

    def pageserver(self, name: str, **options: Any) -> Pageserver:
        """Start a pageserver over the stored cluster."""
        return self._stack.enter_context(
            start_pageserver(
                **{
                    "pgdata": self.stored.data,
                    "tenant": TENANT,
                    "timeline": TIMELINE,
                    "log_dir": self.folder,
                    "name": name,
                    **options,
                }
            )
        )

    def publish(
        self,
        *pageservers: Pageserver | str | Sequence[str],
        settings: Mapping[str, str] | None = None,
        **spec: Any,
    ) -> None:
        """Write the document; *spec* is for fields of the spec."""
        document = self.document(*pageservers, settings=settings, **spec)
        replace_file(self.config, json.dumps(document))

    def document(
        self,
        *pageservers: Pageserver | str | Sequence[str],
        settings: Mapping[str, str] | None = None,
        **spec: Any,
    ) -> dict[str, Any]:
        """The next document; several pageservers of one shard are a list of URLs."""
        self._generation += 1
        urls = [one.url if isinstance(one, Pageserver) else one for one in pageservers]
        document = attached(
            tenant=TENANT,
            timeline=TIMELINE,
            pageservers=urls or None,
            generation=self._generation,
            settings={
                "port": str(self.pg_port),
                "listen_addresses": "127.0.0.1",
                "unix_socket_directories": str(self.folder),
                "fsync": "off",
                "shared_buffers": "16MB",
                "shared_preload_libraries": "neon_refresh",
                **(settings or {}),
            },
        )
        document["spec"] |= spec
        return document

    def wait_running(self, seconds: float = 60) -> dict[str, Any]:
        """Wait until Postgres runs with the newest document; return the status."""
        found: dict[str, Any] = self.daemon.wait_status(
            "running, in sync",
            lambda found: found["status"] == "running" and found["config"]["in_sync"] and found,
            seconds,
        )
        return found

    def query(self, sql: str) -> Any:
        """First column of the first row; None for no row, and for a command that has none."""
        with psycopg.connect(self.connstr, connect_timeout=60) as session:
            cursor = session.execute(sql.encode())
            row = cursor.fetchone() if cursor.description else None
        return row[0] if row else None

    @property
    def logs(self) -> dict[str, Path]:
        """Every log, by name, for a report."""
        return {path.stem: path for path in self.folder.glob("*.log")}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        child = self.daemon.child
        if child is not None and child.poll() is None:
            self.daemon.stop()
        self._stack.close()
        shutil.rmtree(self.folder, ignore_errors=True)  # in memory, where there is room
