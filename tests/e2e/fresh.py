"""Fixtures of computes that start from nothing."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from devstack.fresh_compute import FreshCompute, StoredCluster
from devstack.postgres import Template
from tests.e2e.conftest import keep_logs

FreshComputeFactory = Callable[..., FreshCompute]


@pytest.fixture(scope="module")
def stored(template: Template) -> Iterator[StoredCluster]:
    """Return the cluster that the pageservers serve."""
    made = StoredCluster(template)
    yield made
    made.remove()


@pytest.fixture
def make_fresh(
    request: pytest.FixtureRequest, stored: StoredCluster
) -> Iterator[FreshComputeFactory]:
    """Return a function that makes computes, all ended after the test."""
    with ExitStack() as stack:

        def make(**options: Any) -> FreshCompute:
            compute = stack.enter_context(FreshCompute(stored, **options))
            keep_logs(request, compute)
            return compute

        yield make


@pytest.fixture
def fresh(make_fresh: FreshComputeFactory) -> FreshCompute:
    """Return a compute with default options."""
    return make_fresh()


def wait_phase(compute: FreshCompute, phase: str) -> None:
    """Wait until the making of the cluster has come to *phase*."""
    compute.daemon.wait_status(
        phase, lambda found: found["cluster"] and found["cluster"]["phase"] == phase, 60
    )
