"""Servers with neon_refresh, a stand-in for the daemon, and pageservers that serve their pages."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import pytest

from devstack.installation import pg_config
from devstack.launch import Pageserver, start_pageserver
from devstack.postgres import Postgres, Setting, Template
from tests.pg.libraries import (
    busy_slot,
    fake_neon,
    library_folder,
    probe,
    slow_resolver,
    without_http_client,
)
from tests.pg.neon_reports import LIST
from tests.support.daemon_stub import DaemonStub
from tests.support.fixtures import PostgresFactory

__all__ = [
    "busy_slot",
    "fake_neon",
    "library_folder",
    "probe",
    "slow_resolver",
    "without_http_client",
]

TENANT = "11111111111111111111111111111111"
TIMELINE = "22222222222222222222222222222222"
TABLE_PAGES = 200

BASE: dict[str, Setting] = {
    "shared_preload_libraries": "neon_refresh",
    "neon.tenant_id": TENANT,
    "neon.timeline_id": TIMELINE,
    "neon_refresh.retry_min": "20ms",
    "neon_refresh.retry_max": "200ms",
    "autovacuum": False,  # after a minute it would change pages that are compared
}

# for a server without contrib modules
RAW_PAGE = """
    CREATE FUNCTION get_raw_page(rel text, blkno int) RETURNS bytea LANGUAGE sql AS $$
        SELECT pg_read_binary_file(pg_relation_filepath(rel), blkno::bigint * 8192, 8192)
    $$
"""


def slim() -> bool:
    """Whether the server under test came without pageinspect."""
    return not (Path(pg_config("sharedir")) / "extension" / "pageinspect.control").exists()


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
            connection.execute(RAW_PAGE if slim() else "CREATE EXTENSION pageinspect")
            connection.execute("CREATE TABLE t (n int, filler text) WITH (fillfactor = 10)")
            connection.execute("INSERT INTO t SELECT n, 'x' FROM generate_series(1, 5000) n")
            pages = connection.execute("SELECT pg_relation_size('t') / 8192").fetchone()
            assert pages is not None
            assert pages[0] >= TABLE_PAGES
            connection.execute("CHECKPOINT")
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
def beside(make_neon: MakeNeon, daemon: DaemonStub, fake_neon: Path) -> Postgres:
    """Return a server where another library has defined the settings first."""
    server = make_neon(
        {
            "shared_preload_libraries": f"{fake_neon},neon_refresh",
            "neon_refresh.config_generation": "1.a.b",
            "neon_refresh.safekeeper_suspect_after": "150ms",
        },
        daemon=daemon,
        pageservers=LIST,
    )
    for signature in ("fake_neon_shard(text, int, text)", "fake_walproposer(bool, text)"):
        server.query(f"CREATE FUNCTION {signature} RETURNS void AS '{fake_neon}' LANGUAGE c")
    return server


class PageserverPool:
    """Running pageservers over one data directory, reused from test to test."""

    def __init__(self, pgdata: Path, log_dir: Path) -> None:
        self._pgdata = pgdata
        self._log_dir = log_dir
        self._idle: dict[str, list[Pageserver]] = {}
        self._all: list[Pageserver] = []

    def take(self, options: Mapping[str, object]) -> Pageserver:
        """Return an idle pageserver with these options, or a new one."""
        idle = self._idle.setdefault(repr(sorted(options.items())), [])
        if idle:
            return idle.pop()
        started = start_pageserver(
            pgdata=self._pgdata,
            tenant=TENANT,
            timeline=TIMELINE,
            log_dir=self._log_dir,
            name=f"pageserver-{len(self._all)}",
            **options,  # type: ignore[arg-type]  # each checks its own
        )
        self._all.append(started)
        return started

    def give_back(self, pageserver: Pageserver, options: Mapping[str, object]) -> None:
        """Take it back, as new, unless it is dead or does not answer."""
        with suppress(OSError):
            pageserver.resume()
            pageserver.admin.reset()
            self._idle[repr(sorted(options.items()))].append(pageserver)

    def close(self) -> None:
        """End them all."""
        for pageserver in self._all:
            pageserver.kill()


@pytest.fixture(scope="session")
def pageserver_pool(
    neon_template: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[PageserverPool]:
    """Pageservers over the template's pages."""
    pool = PageserverPool(neon_template, tmp_path_factory.mktemp("pageservers"))
    yield pool
    pool.close()


@pytest.fixture
def make_pageserver(pageserver_pool: PageserverPool) -> Iterator[MakePageserver]:
    """Return a function that gives pageservers; tests may do to them what they like."""
    taken: list[tuple[Pageserver, dict[str, object]]] = []

    def make(**options: object) -> Pageserver:
        pageserver = pageserver_pool.take(options)
        taken.append((pageserver, options))
        return pageserver

    yield make
    for pageserver, options in taken:
        pageserver_pool.give_back(pageserver, options)
