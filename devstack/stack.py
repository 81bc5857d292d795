"""The storage of one tenant as real processes: controller, pageservers, control plane, computes."""

import os
import signal
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

from devstack.compute import TENANT, TIMELINE
from devstack.compute_control_plane import HOOK_TOKEN, ComputeControlPlane
from devstack.daemon import Daemon
from devstack.installation import binary, free_port, give_away
from devstack.launch import Pageserver, start_pageserver
from devstack.postgres import Postgres, Setting, Template
from devstack.proxy.client import Proxy
from devstack.storage_controller.client import StorageController, start_storage_controller
from devstack.wait import wait_until


def operator_text(**spec: Any) -> dict[str, Any]:
    """A document as an operator puts it: without any server."""
    wanted = {
        "cluster": {"roles": [], "databases": [], "settings": []},
        "skip_pg_catalog_updates": True,
        "tenant_id": TENANT,
        "timeline_id": TIMELINE,
        **spec,
    }
    return {"spec": wanted, "compute_ctl_config": {"jwks": {"keys": []}}}


def setting(name: str, value: str) -> dict[str, str]:
    """A setting of `cluster.settings`."""
    return {"name": name, "value": value, "vartype": "string"}


class ComputeNode:
    """A Postgres and its daemon, which asks the control plane."""

    def __init__(
        self,
        template: Template | Path,
        name: str,
        control_plane: ComputeControlPlane,
        settings: Mapping[str, Setting] | None = None,
    ) -> None:
        self.name = name
        self.port = free_port()
        self.postgres = Postgres(template, name=name)
        self.postgres.configure(
            {
                "shared_preload_libraries": "neon_refresh",
                "neon.tenant_id": TENANT,
                "neon.timeline_id": TIMELINE,
                "neon.extension_server_port": self.port,
                **(settings or {}),
            }
        )
        self.log = self.postgres.folder / "compute_ctl.log"
        options = []
        if control_plane.tls:
            authority = self.postgres.folder / "ca.pem"  # the daemon is another user
            authority.write_bytes(control_plane.tls[0].read_bytes())
            give_away(authority)
            options = ["--control-plane-ca", str(authority)]
        self.daemon = Daemon(
            pgdata=self.postgres.data,
            connstr=self.postgres.conninfo,
            port=self.port,
            log=self.log,
            pgbin=binary("postgres"),
            compute_id=name,
            control_plane=control_plane.base_url,
            token=control_plane.token,
            extra=options,
        )

    def wait_in_sync(self) -> None:
        """Wait until the document desired is in force."""
        self.daemon.wait_status("to be in sync", lambda found: found["config"]["in_sync"])

    def wait_server(self, url: str) -> None:
        """Wait until Postgres uses a pageserver."""
        wait_until(
            f"{self.name} to use {url}",
            lambda: self.setting("neon.pageserver_connstring") == url,
        )

    def pause(self) -> None:
        """Freeze the daemon; Postgres goes on."""
        os.kill(self.daemon.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Thaw the daemon."""
        os.kill(self.daemon.pid, signal.SIGCONT)

    def setting(self, name: str) -> str:
        """Value of a setting in a new session."""
        value: str = self.postgres.value(f"select setting from pg_settings where name = '{name}'")
        return value


class Stack:
    """All of it; use it as a context manager.

    On entry the controller, one pageserver a node, and the control plane are started, and the
    tenant is attached. Computes are added by the caller. Everything logs to *folder*.
    """

    controller: StorageController
    control_plane: ComputeControlPlane
    proxy: Proxy
    """Where pageservers are registered by its routes."""

    def __init__(
        self,
        template: Template | Path,
        folder: Path,
        *,
        nodes: int = 2,
        attached: Sequence[int] = (1,),
        heartbeat_interval: float = 0.2,
        offline_after: float = 30.0,
        attach_seconds: float = 0.0,
        secondaries: int = 0,
        settings: Mapping[str, Setting] | None = None,
        proxied: bool = False,
        tls: tuple[Path, Path] | None = None,
        options: Sequence[str | Path] = (),
    ) -> None:
        """*attached*: node ids by shard; *secondaries*: warm copies of each.

        *attach_seconds* is what a pageserver needs for a shard of which it has no copy. *settings*
        are those of every Postgres, *options* flags of the control plane. *proxied*: pageservers
        are registered by routes of `proxy`, `pg-N` and `http-N`.
        """
        self._template = template
        self._stack = ExitStack()
        self._nodes = nodes
        self._attached = attached
        self._heartbeat_interval = heartbeat_interval
        self._offline_after = offline_after
        self._attach_seconds = attach_seconds
        self._secondaries = secondaries
        self._settings = settings
        self._proxied = proxied
        self._tls = tls
        self._options = options
        self.folder = folder
        self.pageservers: dict[int, Pageserver] = {}
        self.addresses: dict[int, str] = {}
        """By node: `HOST:PORT` of libpq, as documents name it."""
        self.computes: dict[str, ComputeNode] = {}

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _start(self) -> None:
        if self._proxied:
            self.proxy = self._stack.enter_context(Proxy(self.folder))
        port, scheme = free_port(), "http" if self._tls is None else "https"
        self._hooks_url = f"{scheme}://127.0.0.1:{port}"
        self.start_controller(listen=_free_address())
        for node_id in range(1, self._nodes + 1):
            self.start_pageserver(node_id)
        self.controller.wait(
            "all nodes",
            lambda: {node["availability"] for node in self.controller.nodes()} == {"Active"},
        )
        self.control_plane = self._stack.enter_context(
            ComputeControlPlane(
                self.folder,
                port=port,
                storage_controller=self.controller.base_url,
                tls=self._tls,
                extra=self._options,
            )
        )
        count = len(self._attached)
        self.controller.admin.create_tenant(
            TENANT,
            shard_count=0 if count == 1 else count,
            secondaries=self._secondaries,
            attached=list(self._attached),
        )

    def start_controller(self, *, listen: str | None = None) -> None:
        """Start the storage controller, or start it again on its old port and state."""
        self.controller = self._stack.enter_context(
            start_storage_controller(
                state=self.folder / "controller.json",
                log_dir=self.folder,
                listen=listen or self.controller.address,
                control_plane_url=self._hooks_url,
                control_plane_token=HOOK_TOKEN,
                heartbeat_interval=self._heartbeat_interval,
                offline_after=self._offline_after,
            )
        )

    def start_pageserver(self, node_id: int) -> None:
        """Start a node, or start it again on its old ports."""
        old = self.pageservers.get(node_id)
        listen, http = (old.address, old.http) if old else (_free_address(), _free_address())
        extra = ["--node-id", str(node_id), "--controller", self.controller.base_url]
        extra += ["--http", http, "--attach-seconds", str(self._attach_seconds)]
        self.addresses[node_id] = listen
        if self._proxied:
            self.addresses[node_id] = self.proxy.route(f"pg-{node_id}", listen)
            extra += ["--announce", self.addresses[node_id]]
            extra += ["--announce-http", self.proxy.route(f"http-{node_id}", http)]
        started = start_pageserver(
            pgdata=self._template if isinstance(self._template, Path) else self._template.data,
            tenant=TENANT,
            timeline=TIMELINE,
            log_dir=self.folder,
            name=f"pageserver-{node_id}",
            shards="none",
            listen=listen,
            extra=extra,
        )
        self.pageservers[node_id] = self._stack.enter_context(started)

    def add_compute(self, name: str, *, in_sync: bool = True, **spec: Any) -> ComputeNode:
        """Put a compute's document, start its Postgres and its daemon."""
        self.control_plane.put(name, operator_text(**spec))
        compute = ComputeNode(self._template, name, self.control_plane, self._settings)
        self._stack.enter_context(compute.postgres)
        compute.postgres.start()
        self._stack.enter_context(compute.daemon)
        self.computes[name] = compute
        if in_sync:
            compute.wait_in_sync()
        return compute

    def wait_settled(self, seconds: float = 20.0) -> None:
        """Wait until the tenant is where it should be, and all were told."""
        self.controller.wait("settled", lambda: self.controller.settled(TENANT), seconds)

    def server(self, node_id: int) -> str:
        """The URL of a pageserver as documents name it."""
        return f"postgresql://no_user@{self.addresses[node_id]}"

    @property
    def logs(self) -> dict[str, Path]:
        """Every log, by name, for a report."""
        found = {path.stem: path for path in self.folder.glob("*.log")}
        for name, compute in self.computes.items():
            found[f"{name} compute_ctl"] = compute.log
            found[f"{name} postgres"] = compute.postgres.log
        return found


def _free_address() -> str:
    return f"127.0.0.1:{free_port()}"
