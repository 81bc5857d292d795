"""A daemon that kills itself at a step of its work."""

from contextlib import suppress

from compute_common.system.failpoint import VARIABLE
from devstack.daemon import Daemon
from devstack.process import ChildError
from devstack.wait import wait_until


def crash_at(daemon: Daemon, step: str) -> None:
    """Start *daemon* with the failpoint *step*, and wait until it has killed itself there."""
    daemon.env[VARIABLE] = step
    with suppress(AssertionError, ChildError):  # it may be gone before it has answered
        daemon.start()
    assert daemon.child is not None
    assert -9 == wait_until(f"the crash {step}", daemon.child.poll, 60)
    del daemon.env[VARIABLE]
