"""Start a storage controller and give it orders."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from devstack.client import AdminClient, exchange
from devstack.launch import Standin
from devstack.wait import wait_until

Event = dict[str, Any]


class StorageControllerAdmin(AdminClient):
    """Orders to a storage controller."""

    def put_node(self, node_id: int, *, pg: str, http: str) -> dict[str, Any]:
        """Register a pageserver by its two `HOST:PORT`; the node as it is now."""
        pg_host, _, pg_port = pg.rpartition(":")
        http_host, _, http_port = http.rpartition(":")
        body = {
            "listen_pg_addr": pg_host,
            "listen_pg_port": int(pg_port),
            "listen_http_addr": http_host,
            "listen_http_port": int(http_port),
        }
        answer: dict[str, Any] = self._call("PUT", f"/nodes/{node_id}", body)
        return answer

    def create_tenant(
        self,
        tenant_id: str,
        *,
        shard_count: int = 0,
        stripe_size: int = 2048,
        secondaries: int = 0,
        preferred_az: str | None = None,
        attached: Sequence[int] | None = None,
    ) -> dict[str, Any]:
        """Create and attach a tenant; `attached`: node ids by shard, None: the controller's choice.

        `shard_count` 0: unsharded. `secondaries`: warm copies of each shard.
        """
        body = {
            "shard_count": shard_count,
            "stripe_size": stripe_size,
            "secondaries": secondaries,
            "preferred_az": preferred_az,
            "attached": attached,
        }
        answer: dict[str, Any] = self._call("PUT", f"/tenants/{tenant_id}", body)
        return answer

    def migrate(self, tenant_id: str, node_id: int, *, shard: int = 0) -> bool:
        """Begin a live migration of a shard; False where it is there already."""
        path = f"/tenants/{tenant_id}/shards/{shard}"
        moved: bool = self._call("PUT", path, {"node_id": node_id})["moved"]
        return moved

    def drain(self, node_id: int, *, pause_seconds: float = 0.0) -> None:
        """Begin to move all shards off a node, pausing before each."""
        self._call("PUT", f"/nodes/{node_id}/drain", {"pause_seconds": pause_seconds})

    def cancel_drain(self) -> None:
        """End the drain under way."""
        self._call("DELETE", "/drain")

    def put_safekeeper(self, number: int, hostname: str | None = None) -> None:
        """Register a safekeeper."""
        self._call("PUT", f"/safekeepers/{number}", {"hostname": hostname})

    def create_timeline(self, tenant_id: str, timeline_id: str, safekeepers: Sequence[int]) -> None:
        """Create a timeline with safekeepers of generation 1."""
        path = f"/tenants/{tenant_id}/timelines/{timeline_id}"
        self._call("PUT", path, {"safekeepers": list(safekeepers)})

    def change_safekeepers(
        self, tenant_id: str, timeline_id: str, safekeepers: Sequence[int], *, finish: bool = True
    ) -> dict[str, Any]:
        """Begin a change of safekeepers; `finish` False: stay in the joint configuration."""
        path = f"/tenants/{tenant_id}/timelines/{timeline_id}/safekeepers"
        body = {"safekeepers": list(safekeepers), "finish": finish}
        answer: dict[str, Any] = self._call("PUT", path, body)
        return answer

    def set_fault(
        self,
        kind: str,
        *,
        hook: str | None = None,
        count: int | None = None,
        delay_ms: int | None = None,
    ) -> None:
        """Order a fault (see `faults.Fault`); `count` None: until cleared."""
        self._call(
            "PUT", "/fault", {"kind": kind, "hook": hook, "count": count, "delay_ms": delay_ms}
        )

    def events(self, kind: str | None = None, *, since: int = 0, **details: Any) -> list[Event]:
        """What happened from event number `since` on, the oldest first; those that fit only."""
        found = self._call("GET", f"/events?since={since}")["events"]
        return [event for event in found if _fits(event, kind, details)]

    def mark(self) -> int:
        """The number of the next event."""
        number: int = self._call("GET", "/events?since=1000000000000")["next"]
        return number

    def wait_event(
        self, kind: str, *, since: int = 0, timeout: float = 10.0, **details: Any
    ) -> Event:
        """The first event of a kind with these details; AssertionError after `timeout` seconds."""
        what = f"event {kind} {details}"
        return wait_until(what, lambda: self.events(kind, since=since, **details), timeout)[0]


def _fits(event: Event, kind: str | None, details: Mapping[str, Any]) -> bool:
    return kind in (None, event["kind"]) and details.items() <= event.items()


class StorageController(Standin):
    """A running storage controller; use it as a context manager. `token`: for its own API."""

    def __init__(self, arguments: Sequence[str | Path], log: Path, token: str | None) -> None:
        super().__init__("storage_controller", arguments, log)
        self.token = token
        self.base_url = f"http://{self.address}"
        self.admin = StorageControllerAdmin(self.child.ready["admin"])

    def call(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """One request to its own API: status and answer."""
        return exchange(self.address, method, path, body, token=self.token)

    def nodes(self) -> list[dict[str, Any]]:
        """All nodes."""
        found: list[dict[str, Any]] = self.call("GET", "/control/v1/node")[1]
        return found

    def availability(self, node_id: int) -> str:
        """`Active`, `WarmingUp` or `Offline`."""
        return next(str(node["availability"]) for node in self.nodes() if node["id"] == node_id)

    def set_offline(self, node_id: int) -> int:
        """Say that a node is offline; the status."""
        return self._configure(node_id, availability="Offline")

    def set_active(self, node_id: int) -> int:
        """Say that a node is back, which the next heartbeat would find; the status."""
        return self._configure(node_id, availability="Active")

    def set_scheduling(self, node_id: int, scheduling: str) -> int:
        """Say whether a node may be given shards: `Active`, `Pause`, …; the status."""
        return self._configure(node_id, scheduling=scheduling)

    def _configure(self, node_id: int, **what: str) -> int:
        body = {"node_id": node_id, **what}
        return self.call("PUT", f"/control/v1/node/{node_id}/config", body)[0]

    def located(self, tenant_id: str) -> list[int]:
        """The node of each shard."""
        shards = self.call("GET", f"/debug/v1/tenant/{tenant_id}/locate")[1]["shards"]
        return [shard["node_id"] for shard in shards]

    def settled(self, tenant_id: str) -> bool:
        """Whether no shard is on its way, and the control plane knows."""
        shards = self.call("GET", f"/control/v1/tenant/{tenant_id}")[1]["shards"]
        busy = ("is_reconciling", "is_pending_compute_notification")
        return not any(shard[flag] for shard in shards for flag in busy)

    def wait(self, what: str, predicate: Callable[[], Any], timeout: float = 10.0) -> None:
        """Wait for something; where it does not come, the error has the last events."""
        try:
            wait_until(what, predicate, timeout)
        except AssertionError as error:
            last = self.admin.events()[-20:]
            raise AssertionError("\n".join([str(error), *map(str, last)])) from error


def start_storage_controller(
    *,
    state: Path,
    log_dir: Path,
    name: str = "storage-controller",
    listen: str = "127.0.0.1:0",
    control_plane_url: str | None = None,
    control_plane_token: str | None = None,
    heartbeat_interval: float = 5.0,
    offline_after: float = 30.0,
    heartbeat_deadline: float = 1.0,
    time_scale: float = 1.0,
    auth_key: Path | None = None,
    token: str | None = None,
    extra: Sequence[str | Path] = (),
) -> StorageController:
    """Start one on a state file; `token` is what `call` sends. Raises ChildError."""
    arguments: list[str | Path] = ["--state", state, "--listen", listen]
    arguments += ["--heartbeat-interval", str(heartbeat_interval)]
    arguments += ["--heartbeat-deadline", str(heartbeat_deadline)]
    arguments += ["--offline-after", str(offline_after), "--time-scale", str(time_scale)]
    if control_plane_url is not None:
        arguments += ["--control-plane-url", control_plane_url]
    if control_plane_token is not None:
        file = log_dir / f"{name}.token"
        file.touch(mode=0o600)
        file.write_text(control_plane_token)
        arguments += ["--control-plane-token-file", file]
    if auth_key is not None:
        arguments += ["--auth-key", auth_key]
    return StorageController([*arguments, *extra], log_dir / f"{name}.log", token)
