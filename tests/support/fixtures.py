"""Fixtures that give tests real Postgres servers (a pytest plugin, loaded by conftest.py).

``make_postgres(settings=..., name=..., start=True)`` makes a server for one test; the log of
every server of a failed test is printed.  ``shared_postgres`` is one plain server for the whole
session; ``postgresql`` (pytest-postgresql) gives a fresh database on it.
"""

import logging
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest
from pytest_postgresql import factories

from devstack.postgres import Postgres, Setting, Template
from tests.support.small_disk import Disk, small_disk

PostgresFactory = Callable[..., Postgres]

_servers = pytest.StashKey[list[Postgres]]()


@pytest.fixture(scope="session")
def template() -> Iterator[Template]:
    """One initdb for the whole session."""
    made = Template()
    yield made
    made.remove()


@pytest.fixture
def make_postgres(request: pytest.FixtureRequest, template: Template) -> Iterator[PostgresFactory]:
    """Return a function that makes servers, all stopped and removed after the test."""
    default_template = template
    servers = request.node.stash.setdefault(_servers, [])
    with ExitStack() as stack:

        def make(
            settings: Mapping[str, Setting | None] | None = None,
            *,
            name: str = "pg",
            start: bool = True,
            env: Mapping[str, str] | None = None,
            template: Template | Path | None = None,
        ) -> Postgres:
            server = stack.enter_context(Postgres(template or default_template, name=name))
            servers.append(server)
            server.configure(settings or {})
            return server.start(env=env) if start else server

        yield make


@pytest.fixture
def disk() -> Iterator[Disk]:
    """A disk of one megabyte."""
    with small_disk() as made:
        if isinstance(made, str):
            pytest.skip(made)
        yield made


@pytest.fixture(scope="session")
def shared_postgres(template: Template) -> Iterator[Postgres]:
    """One server with neon_refresh loaded, for tests that need no settings of their own."""
    with Postgres(template, name="shared") as server:
        server.configure({"shared_preload_libraries": "neon_refresh"})
        yield server.start()


shared_process = factories.postgresql_noproc(depends_on="shared_postgres")
postgresql = factories.postgresql("shared_process")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add the server logs to the report of a failed test."""
    report = yield
    if report.failed:
        for server in item.stash.get(_servers, []):
            report.sections.append((f"log of server {server.name}", server.log_tail()))
    return report


@pytest.fixture
def quiet_log() -> Iterator[None]:
    """Switch logging off: simulated daemons log more than all other tests together."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)
