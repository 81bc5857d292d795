"""The processes of one run, and what can be done to each: end, start again, stop, go on, move.

The cluster knows the truth: which pageserver has which shard. A process that is down or stopped
is told of a change when it is back. Everything is called from the main thread: children die with
the thread that started them.
"""

import os
import signal
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Final, Self

from devstack.compute import COMPUTE_ID, TENANT, TIMELINE
from devstack.compute_control_plane import ComputeControlPlane
from devstack.daemon import Daemon
from devstack.document import attached
from devstack.fault_proxy.client import Faults, FaultyControlPlane
from devstack.installation import binary, free_port
from devstack.launch import Pageserver, start_pageserver
from devstack.postgres import Postgres, Template
from devstack.proxy.client import Proxy
from tests.chaos.schedule import BACK, CONTROL_PLANE, DAEMON, WORKER, Topology
from tests.support.small_disk import Disk

STRIPE: Final = 4
ROWS: Final = 12_000
CANCEL_AFTER_S: Final = 4.0
SETTINGS: Final = {
    "neon_refresh.response_suspect_after": "200ms",
    "neon_refresh.connect_timeout": "500ms",
    "neon_refresh.query_cancel_after": f"{CANCEL_AFTER_S:g}s",
    "neon_refresh.request_timeout": "500ms",
    "neon_refresh.retry_max": "1s",
}
"""Shorter than the defaults, so that a round is short."""


class Cluster:
    """Use it as a context manager; on entry all run, and the table is there."""

    def __init__(self, template: Template, topology: Topology, disk: Disk | None) -> None:
        self.topology = topology
        self.disk = disk
        self.owners = [shard % topology.pageservers for shard in range(topology.shards)]
        self._documents = 0
        self.last_crash: float | None = None
        self.held: set[str] = set()
        """Targets that are down or stopped."""
        self._before = list(self.owners)
        self._untold: set[str] = set()
        self._stack = ExitStack()
        self.postgres = Postgres(template, name="chaos")
        self.folder = self.postgres.folder
        self.port = free_port()
        self.conf = self.postgres.data / "compute_ctl.conf"
        self.postgres.configure(
            {
                "shared_preload_libraries": "neon_refresh",
                "neon.tenant_id": TENANT,
                "neon.timeline_id": TIMELINE,
                "neon.extension_server_port": self.port,
                **SETTINGS,
            }
        )
        self.pageservers: list[Pageserver] = []
        self.urls: list[str] = []
        self.proxy: Proxy
        self.control_plane: ComputeControlPlane
        self.faults: Faults
        self.daemon: Daemon

    def __enter__(self) -> Self:
        with self._stack as stack:
            stack.enter_context(self.postgres)
            self.postgres.start()
            self.proxy = stack.enter_context(Proxy(self.folder))
            self._start_control_plane()
            for number in range(self.topology.pageservers):
                self.pageservers.append(self._start_pageserver(number))
            stack.callback(self._kill_pageservers)
            self.publish()
            self.daemon = self._make_daemon()
            stack.callback(self._stop_daemon)
            self.daemon.start()
            self.daemon.wait_status("the first document", lambda found: found["config"]["in_sync"])
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def fill(self) -> list[bytes]:
        """Make the table; return its pages as Postgres reads them from its own files."""
        with self.postgres.connect() as session:
            session.execute("create extension neon_refresh")
            session.execute(
                "create table story as select n, md5(n::text) as filler "
                f"from generate_series(1, {ROWS}) as n"
            )
            session.execute("vacuum (freeze) story")
            session.execute("checkpoint")
            row = session.execute(
                "select pg_read_binary_file(pg_relation_filepath('story'))", binary=True
            ).fetchone()
        assert row is not None
        return [row[0][at : at + 8192] for at in range(0, len(row[0]), 8192)]

    # One process

    def kill(self, target: str, number: signal.Signals = signal.SIGKILL) -> None:
        """End it; the worker is started again by Postgres, everything else by `revive`."""
        if target == WORKER:
            self._signal_worker(number)
            return
        self.held.add(target)
        if number is signal.SIGKILL:
            self._child(target).kill()
        else:
            self._child(target).stop(20.0, number)

    def revive(self, target: str) -> None:
        """Start it again, as systemd or Kubernetes would."""
        if target == WORKER:
            return
        if target == DAEMON:
            if self.daemon.child is None or self.daemon.child.poll() is not None:
                self.daemon.spawn()
        elif target == CONTROL_PLANE:
            if self._child(target).poll() is not None:
                self.control_plane.start()
        else:
            number = int(target.partition("-")[2])
            if self.pageservers[number].child.poll() is not None:
                self.pageservers[number] = self._start_pageserver(number)
        self._is_back(target)

    def stop(self, target: str) -> None:
        """SIGSTOP."""
        if target == WORKER:
            self._signal_worker(signal.SIGSTOP)
            return
        self.held.add(target)
        self._child(target).signal(signal.SIGSTOP)

    def resume(self, target: str) -> None:
        """SIGCONT."""
        if target == WORKER:
            self._signal_worker(signal.SIGCONT)
            return
        child = self._child(target)
        if child.poll() is None:
            child.signal(signal.SIGCONT)
            self._is_back(target)

    def worker_pid(self) -> int | None:
        """The refresh worker's process, found without SQL."""
        pid = self.postgres.pid
        with suppress(OSError):
            for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
                with suppress(OSError):
                    if b"neon_refresh" in Path(f"/proc/{child}/cmdline").read_bytes():
                        return int(child)
        return None

    # The tenant

    def move(self, shard: int, to: int) -> None:
        """Let the pageserver *to* numbers further on have a shard; nobody is told where it is."""
        old = self.owners[shard]
        new = self._before[shard] if to == BACK else (old + to) % self.topology.pageservers
        self._before[shard], self.owners[shard] = old, new
        for number in range(len(self.pageservers)):
            self._tell_shards(number)

    def publish(self) -> None:
        """Let the control plane know the truth, in a document that differs from all before."""
        if CONTROL_PLANE in self.held:
            self._untold.add(CONTROL_PLANE)
            return
        self._documents += 1
        document = attached(
            tenant=TENANT,
            timeline=TIMELINE,
            pageservers=[self.urls[owner] for owner in self.owners],
            stripe_size=STRIPE,
            settings={"work_mem": f"{4096 + self._documents}kB"},
        )
        self.control_plane.put(COMPUTE_ID, document)

    @property
    def connstring(self) -> str:
        """The list of pageservers that must be in force."""
        return ",".join(self.urls[owner] for owner in self.owners)

    def pages_sent(self) -> list[int]:
        """How many pages each pageserver has sent."""
        return [int(one.admin.stats()["pages_sent"]) for one in self.pageservers]

    # Inside

    def _child(self, target: str) -> Any:
        if target == DAEMON:
            return self.daemon.child
        if target == CONTROL_PLANE:
            return self.control_plane.child
        return self.pageservers[int(target.partition("-")[2])].child

    def _is_back(self, target: str) -> None:
        self.held.discard(target)
        if target not in self._untold:
            return
        self._untold.discard(target)
        if target == CONTROL_PLANE:
            self.publish()
        else:
            self._tell_shards(int(target.partition("-")[2]))

    def _tell_shards(self, number: int) -> None:
        target = f"pageserver-{number}"
        if target in self.held:
            self._untold.add(target)
        else:
            self.pageservers[number].admin.set_shards(self._shards(number), STRIPE)

    def _shards(self, number: int) -> list[str]:
        count = self.topology.shards
        mine = [shard for shard, owner in enumerate(self.owners) if owner == number]
        return [f"{shard:02x}{count:02x}" for shard in mine] or ["none"]

    def _start_pageserver(self, number: int) -> Pageserver:
        name = f"pageserver-{number}"
        made = start_pageserver(
            pgdata=self.postgres.data,
            tenant=TENANT,
            timeline=TIMELINE,
            log_dir=self.folder,
            name=name,
            shards=self._shards(number),
            stripe_size=STRIPE,
            extra=("--log-level", "warning"),
        )
        address = self.proxy.route(name, made.address)
        if number == len(self.urls):
            self.urls.append(f"postgresql://no_user@{address}")
        return made

    def _start_control_plane(self) -> None:
        plane = self._stack.enter_context(FaultyControlPlane(self.folder))
        self.control_plane, self.faults = plane.real, plane.proxy.of(COMPUTE_ID)
        self.control_address = self.proxy.route(CONTROL_PLANE, plane.proxy.address)

    def _make_daemon(self) -> Daemon:
        options: list[str] = []
        if self.disk is not None:
            options = ["--state-dir", str(self.disk.folder / "compute_ctl")]
            self.conf.symlink_to(self.disk.folder / "compute_ctl.conf")
        daemon = Daemon(
            pgdata=self.postgres.data,
            connstr=self.postgres.conninfo,
            port=self.port,
            log=self.folder / "compute_ctl.log",
            pgbin=binary("postgres"),
            compute_id=COMPUTE_ID,
            control_plane=f"http://{self.control_address}",
            token=self.control_plane.token,
            extra=options,
        )
        if self.disk is not None:
            daemon.socket = self.disk.folder / "compute_ctl" / "ctl.sock"
        return daemon

    def _signal_worker(self, number: signal.Signals) -> None:
        pid = self.worker_pid()
        if pid is None:
            return
        if number is signal.SIGKILL:
            self.last_crash = time.monotonic()  # Postgres restarts all its children
        with suppress(ProcessLookupError):
            if number is signal.SIGTERM:
                os.kill(pid, signal.SIGCONT)
            os.kill(pid, number)

    def _kill_pageservers(self) -> None:
        for pageserver in self.pageservers:
            pageserver.kill()

    def _stop_daemon(self) -> None:
        if self.daemon.child is not None and self.daemon.child.poll() is None:
            self.daemon.stop()
