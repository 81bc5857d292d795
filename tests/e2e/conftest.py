"""Computes for the end-to-end tests: everything is a real process."""

from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol

import pytest

from devstack.compute import Compute
from devstack.fault_proxy.client import FaultyControlPlane
from devstack.postgres import Template

ComputeFactory = Callable[..., Compute]


class HasLogs(Protocol):
    """A compute of some kind."""

    @property
    def logs(self) -> dict[str, Path]:
        """Every log, by name."""


_computes = pytest.StashKey[list[HasLogs]]()
LOG_TAIL = 6000


def keep_logs(request: pytest.FixtureRequest, compute: HasLogs) -> None:
    """Show the logs of *compute* if the test fails."""
    request.node.stash.setdefault(_computes, []).append(compute)


@pytest.fixture
def make_compute(request: pytest.FixtureRequest, template: Template) -> Iterator[ComputeFactory]:
    """Return a function that makes computes, all ended and removed after the test."""
    with ExitStack() as stack:

        def make(**options: Any) -> Compute:
            compute = stack.enter_context(Compute(template, **options))
            keep_logs(request, compute)
            return compute

        yield make


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultyControlPlane]:
    """Return one control plane for the session; each compute has an ID and faults of its own."""
    with FaultyControlPlane(tmp_path_factory.mktemp("control-plane")) as running:
        yield running


@pytest.fixture
def pulling(make_compute: ComputeFactory, control_plane: FaultyControlPlane) -> Compute:
    """Return a compute whose document comes from the control plane; it does not look by itself."""
    options = ["--reconcile-interval", "86400"]
    return make_compute(control_plane=control_plane, daemon_options=options)


@pytest.fixture
def compute(make_compute: ComputeFactory) -> Compute:
    """Return a compute whose document comes from a file."""
    return make_compute()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add the logs of every compute to the report of a failed test."""
    report = yield
    if report.failed:
        for compute in item.stash.get(_computes, []):
            for name, path in compute.logs.items():
                text = path.read_text(errors="replace")[-LOG_TAIL:] if path.exists() else ""
                report.sections.append((f"log {name}", text))
    return report
