"""A server that is started and gets nowhere is a server that did not start."""

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from compute_ctl.app.supervisor import Supervisor
from compute_ctl.decisions.model import Written
from compute_ctl.document.generation import Marker
from compute_ctl.node import Node
from compute_ctl.postgres import Attached
from compute_ctl.settings import Deadlines
from devstack.postgres import Template
from devstack.wait import until
from tests.daemon.test_supervised import Home, clone
from tests.support.clock import FakeClock

LIMIT_S = 1.0


@pytest.fixture
async def place(template: Template) -> AsyncIterator[Home]:
    """A place with a cluster, whose server is ended after the test."""
    made = Home()
    clone(template, made)
    yield made
    await Attached(made.data).stop(immediate=True)
    made.remove()


def supervisor(place: Home) -> tuple[Node, Supervisor]:
    """Return a node with a configuration, and what starts its server."""
    supervised = place.supervised()
    node = Node(clock=FakeClock(), postgres=supervised)
    marker = Marker.of(generation=1, nonce="0" * 32, body="")
    at = datetime.now(UTC)
    node.now_written(Written(marker=marker, rest="", upstream="", at=at, content_sha256=""))
    node.attempts.first_ended.set()
    made = Supervisor(
        node=node,
        postgres=supervised,
        deadlines=Deadlines(start_postgres=LIMIT_S, failed_start=0.1),
        environment=dict,
        before_start=lambda: None,
    )
    return node, made


async def run(place: Home, made: Supervisor) -> None:
    """Run it with its watcher until it gives up."""

    def on_exit(status: int | None) -> None:
        for earlier in place.made[:-1]:  # whose server is our child, and no child of init
            if earlier._child is not None:
                earlier._child.wait(10)
        events.on_exit(status)

    events = made.events
    watch = asyncio.create_task(place.made[-1].watch(replace(events, on_exit=on_exit)))
    try:
        await asyncio.wait_for(made.run(), 30)
    finally:
        watch.cancel()


async def test_a_server_that_hangs_before_recovery_is_stopped(place: Home) -> None:
    """Say, on an include that has become a pipe; the reason names it."""
    pipe = place.data / "pipe.conf"
    os.mkfifo(pipe)
    pipe.chmod(0o666)
    place.configure(f"include '{pipe}'")
    node, made = supervisor(place)

    await run(place, made)

    assert node.start.failure is not None
    said = f'it hung for {LIMIT_S:g} s before it began to recover; it waits for file "{pipe}"'
    assert f"postgres did not start: {said}" == node.start.failure.reason
    assert not place.made[-1].running


async def test_a_hung_server_of_an_earlier_daemon_is_no_evidence(
    place: Home, caplog: pytest.LogCaptureFixture
) -> None:
    """A hung server of an earlier daemon proves nothing against the present file: it is tried."""
    library = place.data / "library.so"
    os.mkfifo(library)
    library.chmod(0o666)
    place.configure(f"shared_preload_libraries = '{library}'")
    earlier = place.supervised()
    earlier.start()
    await until("postmaster.pid", lambda: Attached(place.data).pid)
    earlier.close()
    place.configure()
    node, made = supervisor(place)

    running = asyncio.create_task(run(place, made))
    try:
        await until("a server that is ready", lambda: Attached(place.data).ready)
    finally:
        node.terminate("immediate", who="a test")
        await place.made[-1].stop(immediate=True)
        await running

    assert node.start.failure is None
    assert [f'it waits for file "{library}"'] == [
        text.partition("; ")[2] for text in caplog.messages if text.startswith("stopping postgres")
    ]
