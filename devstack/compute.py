"""A whole compute on real processes: Postgres, compute_ctl, pageservers, a control plane or a file.

For tests, demo and benchmarks. The pageservers serve the pages of the very Postgres that reads
them, so what comes back can be compared with what is on its disk.
"""

import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import Any, Self

import psycopg

from devstack.daemon import Daemon
from devstack.document import attached
from devstack.fault_proxy.client import Faults, FaultyControlPlane
from devstack.installation import binary, free_port, replace_file
from devstack.launch import Pageserver, start_pageserver
from devstack.postgres import Postgres, Setting, Template

TENANT = "9f3c1d5e7a804b26a1c4e85d02f7b369"
TIMELINE = "0a1b2c3d4e5f60718293a4b5c6d7e8f9"
COMPUTE_ID = "compute-1"
_numbers = count(1)

SCAN = """
select count(*) from generate_series(0, {last}) as block,
lateral heap_page_items(neon_refresh.read_page('{table}', block)) as item where item.lp_flags = 1
"""

# What SCAN needs of pageinspect, for a server without contrib modules. The header is 24 bytes, the
# end of the line pointers stands in its bytes 12 and 13; a line pointer is 15, 2 and 15 bits.
HEAP_PAGE_ITEMS = """
create function heap_page_items(page bytea) returns table (lp_flags int) language sql as $$
    select (get_byte(page, n + 1) >> 7) | ((get_byte(page, n + 2) & 1) << 1)
    from generate_series(24, get_byte(page, 12) + 256 * get_byte(page, 13) - 4, 4) as n
$$
"""


def make_page_functions(session: psycopg.Connection[Any]) -> None:
    """Make what SCAN reads pages with, unless it is there."""
    offered = "select from pg_available_extensions where name = 'pageinspect'"
    if session.execute(offered).rowcount == 1:
        session.execute("create extension if not exists pageinspect")
    elif session.execute("select to_regproc('heap_page_items')").fetchone() == (None,):
        session.execute(HEAP_PAGE_ITEMS)


class Compute:
    """One compute; use it as a context manager.

    compute_ctl gets its document from *control_plane*, which computes may share, or else from a
    file. Postgres is up on entry; pageservers and the daemon are started by the caller, in the
    order it wants.
    """

    def __init__(
        self,
        template: Template,
        *,
        name: str = "compute",
        control_plane: FaultyControlPlane | None = None,
        settings: Mapping[str, Setting] | None = None,
        daemon_options: Sequence[str] = (),
    ) -> None:
        self._stack = ExitStack()
        self._generation = 0
        self._control_plane = control_plane
        self.compute_id = f"{name}-{next(_numbers)}" if control_plane else COMPUTE_ID
        self.postgres = Postgres(template, name=name)
        self.folder = self.postgres.folder
        self.config = self.folder / "config.json"
        self.port = free_port()
        self.daemon_options = daemon_options
        self.postgres.configure(
            {
                "shared_preload_libraries": "neon_refresh",
                "neon.tenant_id": TENANT,
                "neon.timeline_id": TIMELINE,
                "neon.extension_server_port": self.port,
                **(settings or {}),
            }
        )
        self.daemon: Daemon

    def __enter__(self) -> Self:
        self._stack.enter_context(self.postgres)
        self.postgres.start()
        self.daemon = Daemon(
            pgdata=self.postgres.data,
            connstr=self.postgres.conninfo,
            port=self.port,
            log=self.folder / "compute_ctl.log",
            pgbin=binary("postgres"),
            compute_id=self.compute_id,
            config=self.config if self._control_plane is None else None,
            control_plane=self._control_plane.proxy.base_url if self._control_plane else None,
            token=self._control_plane.real.token if self._control_plane else None,
            extra=self.daemon_options,
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def start_daemon(self, *, in_sync: bool = True) -> Daemon:
        """Start compute_ctl; by default wait until what is published is in force."""
        self._stack.enter_context(self.daemon)
        if in_sync:
            self.wait_in_sync()
        return self.daemon

    def wait_in_sync(self) -> None:
        """Wait until the document desired is in force, and no attempt is under way or due."""
        self.daemon.wait_status(
            "configuration in sync",
            lambda found: (
                found["config"]["in_sync"]
                and found["refresh"]["last_attempt"]
                and found["status"] in ("running", "failed")
            ),
        )

    def pageserver(
        self, name: str, *, shards: str = "all", stripe_size: int = 2048, **options: Any
    ) -> Pageserver:
        """Start a pageserver over Postgres's data directory; it ends with the compute."""
        started = start_pageserver(
            pgdata=self.postgres.data,
            tenant=TENANT,
            timeline=TIMELINE,
            log_dir=self.folder,
            name=name,
            shards=shards,
            stripe_size=stripe_size,
            **options,
        )
        return self._stack.enter_context(started)

    def publish(
        self,
        *pageservers: Pageserver | Sequence[Pageserver],
        stripe_size: int | None = None,
        settings: Mapping[str, str] | None = None,
        generation: int | None = None,
    ) -> dict[str, Any]:
        """Make the source name these pageservers, one or several a shard, in its own document."""
        self._generation = generation if generation is not None else self._generation + 1
        document = attached(
            tenant=TENANT,
            timeline=TIMELINE,
            pageservers=[
                [one.url for one in ([shard] if isinstance(shard, Pageserver) else shard)]
                for shard in pageservers
            ],
            stripe_size=stripe_size,
            generation=self._generation,
            settings=settings,
        )
        self.publish_document(document)
        return document

    def publish_document(self, document: Mapping[str, Any] | str) -> None:
        """Publish any document; a string is written into the file as it is.

        A control plane sets `spec.generation` itself.
        """
        if self._control_plane is not None:
            self._control_plane.real.put(self.compute_id, document)
            return
        text = document if isinstance(document, str) else json.dumps(document)
        replace_file(self.config, text)

    @property
    def control_plane(self) -> FaultyControlPlane:
        """Where the document comes from. Raises TypeError where that is a file."""
        if self._control_plane is None:
            raise TypeError("the document of this compute comes from a file")
        return self._control_plane

    @property
    def faults(self) -> Faults:
        """Faults of the control plane that this compute meets, and no other.

        Raises TypeError where the document comes from a file.
        """
        return self.control_plane.proxy.of(self.compute_id)

    def fill(self, rows: int, table: str = "story") -> str:
        """Make a table of *rows* rows that is all on disk; return a query that counts its rows.

        The query reads every page through the pageservers.
        """
        with self.postgres.connect() as connection:
            connection.execute("create extension if not exists neon_refresh")
            make_page_functions(connection)
            connection.execute(
                f"create table {table} as select n, repeat('x', 20) as filler "
                f"from generate_series(1, {rows}) as n"
            )
            connection.execute(f"vacuum (freeze) {table}".encode())
            connection.execute("checkpoint")
        return SCAN.format(last=self.pages(table) - 1, table=table)

    def pages(self, table: str = "story") -> int:
        """How many pages *table* has."""
        count: int = self.postgres.value(f"select pg_relation_size('{table}') / 8192")
        return count

    def setting(self, name: str) -> str:
        """Value of a setting in a new session."""
        value: str = self.postgres.value(f"select setting from pg_settings where name = '{name}'")
        return value

    @property
    def logs(self) -> dict[str, Path]:
        """Every log of this compute, by name, for a report."""
        own = {path.stem: path for path in (*self.folder.glob("*.log"), self.postgres.log)}
        return own | (self._control_plane.logs if self._control_plane else {})
