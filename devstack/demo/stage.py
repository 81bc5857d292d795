"""Everything the demo needs, running: Postgres, daemon, control plane, pageservers."""

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from devstack.daemon import Daemon
from devstack.document import attached
from devstack.launch import ControlPlane, Pageserver, start_control_plane, start_pageserver
from devstack.postgres import Postgres, Template, binary, free_port

TENANT = "9f3c1d5e7a804b26a1c4e85d02f7b369"
TIMELINE = "0a1b2c3d4e5f60718293a4b5c6d7e8f9"
COMPUTE = "story"
TOKEN = "control-plane-token"  # noqa: S105 -- between our own processes on loopback
ROWS = 100_000


class Stage:
    """The running parts; `current` is the pageserver that the control plane names."""

    def __init__(
        self, stack: ExitStack, postgres: Postgres, daemon: Daemon, control_plane: ControlPlane
    ) -> None:
        self._stack = stack
        self._nodes = 0
        self.postgres = postgres
        self.daemon = daemon
        self.control_plane = control_plane
        self.pages = 0
        self.current: Pageserver | None = None

    def new_pageserver(self) -> tuple[Pageserver, int]:
        """Start a pageserver with all pages, known to the control plane; it and its node id."""
        self._nodes += 1
        started = start_pageserver(
            pgdata=self.postgres.data,
            tenant=TENANT,
            timeline=TIMELINE,
            log_dir=self.postgres.folder,
            name=f"pageserver-{self._nodes}",
        )
        pageserver = self._stack.enter_context(started)
        self.control_plane.admin.put_node(self._nodes, pageserver.url)
        return pageserver, self._nodes

    def publish(self, pageserver: Pageserver, node: int) -> None:
        """Attach the tenant to *pageserver*, as the storage controller tells the control plane."""
        code = self.control_plane.admin.notify_attach(TENANT, {0: node})
        if code != 200:
            raise RuntimeError(f"the control plane answered {code} to notify-attach")
        self.current = pageserver


@contextmanager
def raised(rows: int = ROWS) -> Iterator[Stage]:
    """Start everything, with a table of *rows* rows; stop and remove it at the end."""
    with ExitStack() as stack:
        template = Template()
        stack.callback(template.remove)
        postgres = stack.enter_context(Postgres(template, name="story"))
        port = free_port()
        postgres.configure(
            {
                "shared_preload_libraries": "neon_refresh",
                "neon.tenant_id": TENANT,
                "neon.timeline_id": TIMELINE,
                "neon.extension_server_port": port,
            }
        )
        postgres.start()
        logs = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="demo-")))
        control_plane = stack.enter_context(
            start_control_plane(state=logs / "control-plane.json", log_dir=logs, token=TOKEN)
        )
        daemon = Daemon(
            pgdata=postgres.data,
            connstr=postgres.conninfo,
            port=port,
            log=logs / "compute_ctl.log",
            pgbin=binary("postgres"),
            compute_id=COMPUTE,
            control_plane=control_plane.base_url,
            token=TOKEN,
        )
        stage = Stage(stack, postgres, daemon, control_plane)
        _fill(stage, rows)
        pageserver, node = stage.new_pageserver()
        control_plane.admin.put_compute(
            COMPUTE,
            attached(tenant=TENANT, timeline=TIMELINE, pageservers=[pageserver.url], generation=1),
        )
        stage.publish(pageserver, node)
        stack.enter_context(daemon)
        daemon.wait_status("the first configuration", lambda status: status["config"]["in_sync"])
        yield stage


def _fill(stage: Stage, rows: int) -> None:
    with stage.postgres.connect() as connection:
        connection.execute("create extension neon_refresh")
        connection.execute("create extension pageinspect")
        connection.execute(
            "create table story as select n, repeat('x', 20) as filler "
            f"from generate_series(1, {rows}) as n"
        )
        connection.execute("vacuum (freeze) story")
        connection.execute("checkpoint")
        row = connection.execute("select pg_relation_size('story') / 8192").fetchone()
        assert row is not None
        stage.pages = row[0]
