"""A compute whose document lies in a ConfigMap: what Kubernetes writes there is applied unasked."""

import json
from collections.abc import Iterator

import pytest

from devstack.compute import TENANT, TIMELINE, Compute
from devstack.config_map import ConfigMapMount
from devstack.document import attached
from devstack.postgres import Template
from tests.e2e.conftest import keep_logs


class Mounted(Compute):
    """A compute with such a mount."""

    def __init__(self, template: Template) -> None:
        super().__init__(template, daemon_options=["--reconcile-interval", "86400"])
        self.mount = ConfigMapMount(self.folder / "mount")
        self.config = self.mount.path

    def put(self, generation: int, work_mem: str) -> None:
        """Do what the kubelet does with a changed ConfigMap."""
        settings = {"work_mem": work_mem}
        document = attached(
            tenant=TENANT, timeline=TIMELINE, generation=generation, settings=settings
        )
        self.mount.write(json.dumps(document))


@pytest.fixture
def mounted(request: pytest.FixtureRequest, template: Template) -> Iterator[Mounted]:
    """Return a running compute."""
    with Mounted(template) as made:
        keep_logs(request, made)
        made.put(1, "5MB")
        made.start_daemon()
        yield made


def test_a_swap_is_applied(mounted: Mounted) -> None:
    """Nobody asks for it; a bad document in between changes nothing."""
    assert "5120" == mounted.setting("work_mem")
    mounted.mount.write('{"spec": ')
    mounted.put(2, "6MB")
    mounted.daemon.wait_status(
        "generation 2", lambda found: found["config"]["applied"]["version"] == "2"
    )
    mounted.wait_in_sync()
    assert "6144" == mounted.setting("work_mem")
