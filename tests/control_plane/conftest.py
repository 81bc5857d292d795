"""Stacks for these tests: everything is a real process."""

from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from devstack.compute_control_plane import ComputeControlPlane
from devstack.postgres import Template
from devstack.stack import Stack

StackFactory = Callable[..., Stack]
ControlPlaneFactory = Callable[..., ComputeControlPlane]

_logs = pytest.StashKey[list[Callable[[], dict[str, Path]]]]()
LOG_TAIL = 6000


@pytest.fixture
def make_stack(
    request: pytest.FixtureRequest, template: Template, tmp_path: Path
) -> Iterator[StackFactory]:
    """Return a function that starts stacks, all ended after the test."""
    logs = request.node.stash.setdefault(_logs, [])
    with ExitStack() as stack:

        def make(**options: Any) -> Stack:
            made = Stack(template, tmp_path, **options)
            logs.append(lambda: made.logs)
            return stack.enter_context(made)

        yield make


@pytest.fixture
def stack(make_stack: StackFactory) -> Stack:
    """Two pageservers, the tenant on the first, and no compute yet."""
    return make_stack()


@pytest.fixture
def make_control_plane(
    request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[ControlPlaneFactory]:
    """Return a function that makes control planes without a storage; start them yourself."""
    logs = request.node.stash.setdefault(_logs, [])
    with ExitStack() as stack:

        def make(**options: Any) -> ComputeControlPlane:
            made = ComputeControlPlane(tmp_path, **options)
            logs.append(lambda: {"compute_control_plane": made.log})
            stack.callback(made.kill)
            return made

        yield make


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add all logs to the report of a failed test."""
    report = yield
    if report.failed:
        for logs in item.stash.get(_logs, []):
            for name, path in logs().items():
                text = path.read_text(errors="replace")[-LOG_TAIL:] if path.exists() else ""
                report.sections.append((f"log {name}", text))
    return report
