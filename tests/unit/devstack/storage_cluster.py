"""A storage controller, pageservers that register at it, and a receiver of its hooks."""

from collections.abc import Callable
from typing import Any

from devstack.launch import Pageserver
from devstack.storage_controller.client import StorageController
from tests.unit.devstack.hook_receiver import HookReceiver

SCALE = 0.1
INTERVAL = 0.1
OFFLINE_AFTER = 1.0


class StorageCluster:
    """Starts what a test asks for. Node ids are counted from 1."""

    def __init__(
        self,
        receiver: HookReceiver,
        make_controller: Callable[..., StorageController],
        make_pageserver: Callable[..., Pageserver],
    ) -> None:
        self.receiver = receiver
        self.make_controller = make_controller
        self.controller = make_controller()
        self.pageservers: dict[int, Pageserver] = {}
        self._make_pageserver = make_pageserver

    @property
    def admin(self) -> Any:
        """Orders to the controller."""
        return self.controller.admin

    def add_pageservers(self, number: int) -> None:
        """Start pageservers and wait until they are Active."""
        for node_id in range(len(self.pageservers) + 1, len(self.pageservers) + number + 1):
            self.start_pageserver(node_id)
        self.controller.wait(
            "all nodes", lambda: {n["availability"] for n in self.controller.nodes()} == {"Active"}
        )

    def start_pageserver(self, node_id: int, *, again: bool = False) -> None:
        """Start a node, or start it again on its old ports."""
        extra = ["--node-id", str(node_id), "--controller", self.controller.base_url]
        listen = "127.0.0.1:0"
        if again:
            old = self.pageservers[node_id]
            listen = old.address
            extra += ["--http", old.http]
        self.pageservers[node_id] = self._make_pageserver(
            shards="none", listen=listen, name=f"pageserver-{node_id}", extra=extra
        )

    def create(self, tenant_id: str, **options: Any) -> None:
        """Create a tenant and wait until its hook was answered."""
        self.admin.create_tenant(tenant_id, **options)
        self.wait_settled(tenant_id)

    def wait_settled(self, tenant_id: str, timeout: float = 15.0) -> None:
        """Wait until nothing is on its way any more."""
        self.controller.wait("settled", lambda: self.controller.settled(tenant_id), timeout)
