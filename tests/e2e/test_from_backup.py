"""A compute that starts from nothing: by a base backup of its pageserver."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from devstack.fresh_compute import ROWS, FreshCompute, StoredCluster
from devstack.postgres import Template
from devstack.wait import wait_until
from tests.e2e.conftest import _computes

FreshComputeFactory = Callable[..., FreshCompute]


@pytest.fixture(scope="module")
def stored(template: Template) -> Iterator[StoredCluster]:
    """What the pageservers have."""
    made = StoredCluster(template)
    yield made
    made.remove()


@pytest.fixture
def make_fresh(
    request: pytest.FixtureRequest, stored: StoredCluster
) -> Iterator[FreshComputeFactory]:
    """Return a function that makes computes, all ended after the test."""
    made = request.node.stash.setdefault(_computes, [])
    with ExitStack() as stack:

        def make(**options: Any) -> FreshCompute:
            compute = stack.enter_context(FreshCompute(stored, **options))
            made.append(compute)
            return compute

        yield make


def test_from_nothing_to_a_heal(make_fresh: FreshComputeFactory) -> None:
    """An empty directory becomes a server that reads pages, and heals when they move."""
    compute = make_fresh()
    a, b = compute.pageserver("a"), compute.pageserver("b")
    compute.publish(a)

    compute.daemon.start()
    found = compute.wait_running()

    assert ROWS == compute.query(compute.stored.scan)
    cluster = found["cluster"]
    assert ("basebackup", "complete", a.address) == (
        cluster["method"],
        cluster["phase"],
        cluster["pageserver"],
    )
    assert cluster["bytes"] > 1_000_000
    assert 1 == a.admin.stats()["basebackups"]
    a.kill()
    compute.publish(b)
    wait_until("the heal", lambda: compute.query(compute.stored.scan) == ROWS, 30)
