"""The daemon stays light, however often it is asked."""

import asyncio
import sys

from bench.load import load
from devstack.compute import Compute
from devstack.process import memory_mb

MORE_MB = 2.0
"""What the allocator may take in the meantime; a leak of 1 kB a request is 8 MB."""


TELLS_IN_THE_END = """
import atexit, gc, sys
from compute_ctl.__main__ import main
atexit.register(lambda: print("garbage is collected:", gc.isenabled(), file=sys.stderr))
sys.exit(main())
"""


def test_garbage_is_collected_after_the_start(compute: Compute) -> None:
    """The collector is off only while the daemon starts."""
    compute.publish(compute.pageserver("a"))
    compute.daemon.argv[:3] = [sys.executable, "-c", TELLS_IN_THE_END]
    daemon = compute.start_daemon()
    daemon.stop()
    assert "garbage is collected: True" in daemon.log_text()


def test_memory_does_not_grow(compute: Compute) -> None:
    """After 10,000 refreshes the daemon is as heavy as after 2,000, and they share few fetches."""
    compute.publish(compute.pageserver("a"))
    daemon = compute.start_daemon()
    asyncio.run(load(compute.port, 2_048))
    before = memory_mb(daemon.pid)

    asyncio.run(load(compute.port, 8_192))

    assert memory_mb(daemon.pid) - before < MORE_MB
    assert daemon.metric("compute_ctl_refresh_requests_total") >= 10_240
    assert daemon.metric("compute_ctl_refresh_attempts_total") < 500
