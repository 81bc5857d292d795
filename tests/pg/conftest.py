"""Servers with neon_refresh, a stand-in for the daemon, and pageservers that serve their pages."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest

from devstack.launch import Pageserver, start_pageserver
from tests.pg.libraries import fake_neon, library_folder, probe, slow_resolver
from tests.support.daemon_stub import DaemonStub
from tests.support.fixtures import PostgresFactory
from tests.support.postgres import Postgres, Setting, Template

__all__ = ["fake_neon", "library_folder", "probe", "slow_resolver"]

TENANT = "11111111111111111111111111111111"
TIMELINE = "22222222222222222222222222222222"
TABLE_PAGES = 200

BASE = {
    "shared_preload_libraries": "neon_refresh",
    "neon.tenant_id": TENANT,
    "neon.timeline_id": TIMELINE,
    "neon_refresh.retry_min": "20ms",
    "neon_refresh.retry_max": "200ms",
}

MakeNeon = Callable[..., Postgres]
MakePageserver = Callable[..., Pageserver]


@pytest.fixture(scope="session")
def neon_template(template: Template) -> Iterator[Path]:
    """A data directory with the extension and a table `t` of a known number of pages."""
    with Postgres(template, name="seed") as server:
        server.configure({"shared_preload_libraries": "neon_refresh"})
        server.start()
        with server.connect() as connection:
            connection.execute("CREATE EXTENSION neon_refresh")
            connection.execute("CREATE EXTENSION pageinspect")
            connection.execute("CREATE TABLE t (n int, filler text) WITH (fillfactor = 10)")
            connection.execute("INSERT INTO t SELECT n, 'x' FROM generate_series(1, 5000) n")
            pages = connection.execute("SELECT pg_relation_size('t') / 8192").fetchone()
            assert pages is not None
            assert pages[0] >= TABLE_PAGES
        server.stop()
        (server.data / "test.conf").unlink()
        yield server.data


@pytest.fixture
def make_neon(
    request: pytest.FixtureRequest, make_postgres: PostgresFactory, neon_template: Path
) -> MakeNeon:
    """Return a function that makes servers with neon_refresh, `t` and the daemon's address."""
    del request

    def make(
        settings: Mapping[str, Setting | None] | None = None,
        *,
        daemon: DaemonStub | None = None,
        pageservers: str = "",
        name: str = "pg",
        start: bool = True,
        env: Mapping[str, str] | None = None,
    ) -> Postgres:
        chosen: dict[str, Setting | None] = {**BASE, **(settings or {})}
        if daemon is not None:
            chosen.setdefault("neon_refresh.endpoint", daemon.endpoint)
        chosen.setdefault("neon.pageserver_connstring", pageservers)
        return make_postgres(chosen, name=name, start=start, env=env, template=neon_template)

    return make


@pytest.fixture
def daemon() -> Iterator[DaemonStub]:
    """Return a stand-in for the daemon that answers 200."""
    with DaemonStub() as stub:
        yield stub


@pytest.fixture
def make_pageserver(neon_template: Path, tmp_path: Path) -> Iterator[MakePageserver]:
    """Return a function that starts pageservers over the template's pages."""
    with ExitStack() as stack:

        def make(name: str = "a", **options: object) -> Pageserver:
            return stack.enter_context(
                start_pageserver(
                    pgdata=neon_template,
                    tenant=TENANT,
                    timeline=TIMELINE,
                    log_dir=tmp_path,
                    name=name,
                    **options,  # type: ignore[arg-type]
                )
            )

        yield make
