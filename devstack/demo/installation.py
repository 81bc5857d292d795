"""What the demo plays on: a storage of three pageservers, its control plane, and one compute."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from devstack.compute import SCAN, TENANT, make_page_functions
from devstack.content import filled
from devstack.installation import make_folder
from devstack.outage import Outage
from devstack.postgres import Template
from devstack.stack import ComputeNode, Stack

ROWS: Final = 100_000
NODES: Final = 3
HEARTBEAT_S: Final = 1.0
OFFLINE_AFTER_S: Final = 5.0
"""Neon's defaults are 5 s and 30 s."""
ATTACH_S: Final = 0.8
"""What Neon's pageserver needs to attach a tenant of which it has no copy: 0.8 to 1.3 s."""


class Installation:
    """A running installation; its compute reads a table of ROWS rows from the storage."""

    def __init__(self, stack: Stack, compute: ComputeNode) -> None:
        self.stack = stack
        self.compute = compute
        with compute.postgres.connect() as session:
            make_page_functions(session)
        self.pages: int = compute.postgres.value("select pg_relation_size('story') / 8192")
        self.scan = SCAN.format(last=self.pages - 1, table="story")
        """Reads every page of the table, and counts its rows."""
        self.outage = Outage(stack, compute)
        self.outage.wait_quiet()

    @property
    def node_id(self) -> int:
        """The pageserver that has the tenant."""
        return self.stack.controller.located(TENANT)[0]


@contextmanager
def raised() -> Iterator[Installation]:
    """Start everything; stop and remove it at the end."""
    folder, template = make_folder("demo-"), Template()
    try:
        with (
            filled(template, ROWS) as content,
            Stack(
                content,
                folder,
                nodes=NODES,
                heartbeat_interval=HEARTBEAT_S,
                offline_after=OFFLINE_AFTER_S,
                attach_seconds=ATTACH_S,
            ) as stack,
        ):
            yield Installation(stack, stack.add_compute("demo"))
    finally:
        template.remove()
        shutil.rmtree(folder, ignore_errors=True)
