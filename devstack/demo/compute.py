"""What the demo plays on: a compute behind a control plane, and pageservers one after the other."""

from collections.abc import Iterator
from contextlib import contextmanager

from devstack.compute import Compute
from devstack.launch import ControlPlane, Pageserver
from devstack.postgres import Template

ROWS = 100_000


class DemoCompute:
    """A running compute with a table of ROWS rows."""

    def __init__(self, compute: Compute, control_plane: ControlPlane) -> None:
        self.compute = compute
        self.control_plane = control_plane
        self.scan = compute.fill(ROWS)
        self.pages = compute.pages()
        self._started = 0
        self.current = self.new_pageserver()
        """The pageserver that the control plane names."""

    def new_pageserver(self) -> Pageserver:
        """Start a pageserver that has all pages and is known to the control plane."""
        self._started += 1
        return self.compute.pageserver(f"pageserver-{self._started}")

    def move_to(self, pageserver: Pageserver) -> None:
        """Attach the tenant to *pageserver*, as the storage controller tells the control plane."""
        self.compute.notify_attach(pageserver)
        self.current = pageserver


@contextmanager
def raised() -> Iterator[DemoCompute]:
    """Start everything; stop and remove it at the end."""
    template = Template()
    try:
        with Compute(template, name="demo", source="control_plane") as compute:
            if compute.control_plane is None:
                raise RuntimeError("there is no control plane")
            demo = DemoCompute(compute, compute.control_plane)
            compute.publish(demo.current)
            compute.start_daemon()
            yield demo
    finally:
        template.remove()
