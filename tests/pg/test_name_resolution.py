"""A name that is resolved slowly, or never, holds up nobody for longer than a dead server."""

import time
from pathlib import Path

import pytest
from psycopg import errors

from devstack.postgres import Postgres
from devstack.wait import wait_until
from tests.pg.conftest import MakeNeon, MakePageserver
from tests.pg.queries import Blocked, end_at_limit, suspected
from tests.support.files import descriptors

READ = "SELECT length(neon_refresh.read_page('t', 0))"
PAGE = [(8192,)]


@pytest.fixture
def unresolvable(make_neon: MakeNeon, slow_resolver: Path) -> Postgres:
    """Return a server whose resolver never answers for the pageserver's name."""
    return make_neon(
        {"neon_refresh.connect_timeout": "200ms"},
        pageservers="host=pageserver.slow port=6400",
        env={"LD_PRELOAD": str(slow_resolver)},
    )


def test_a_silent_resolver_is_bounded(unresolvable: Postgres) -> None:
    """Name resolution shares the connect deadline, and leaves one thread however often tried."""
    with Blocked(unresolvable, READ) as query:
        failures = "SELECT consecutive_failures FROM neon_refresh.shards"
        wait_until("three attempts", lambda: unresolvable.value(failures) >= 3)
        assert ("silent", "name resolution timed out") == suspected(unresolvable)
        assert 2 == len(list(Path(f"/proc/{query.pid}/task").iterdir()))
        begin = time.monotonic()
        query.cancel()
        with pytest.raises(errors.QueryCanceled):
            query.join()
        assert time.monotonic() - begin < 15


def test_resolving_leaves_no_descriptor(make_neon: MakeNeon) -> None:
    """However often a name is resolved, at most one resolution holds a descriptor."""
    server = make_neon(pageservers="host=localhost port=1")
    with Blocked(server, READ) as query:
        failures = "SELECT consecutive_failures FROM neon_refresh.shards"
        wait_until("eight attempts", lambda: server.value(failures) >= 8)
        names = descriptors(query.pid)
        assert len([name for name in names if "eventfd" in name]) <= 1


def test_a_new_map_rescues_from_a_silent_resolver(
    unresolvable: Postgres, make_pageserver: MakePageserver
) -> None:
    """A reload ends the wait for a name; the session ends cleanly with the thread still there."""
    good = make_pageserver()
    unresolvable.configure({"neon_refresh.connect_timeout": "60s"})
    unresolvable.reload()
    with Blocked(unresolvable, READ) as query:
        query.wait_blocked()
        unresolvable.configure({"neon.pageserver_connstring": good.url})
        unresolvable.reload()
        assert PAGE == query.join()
    assert unresolvable.stop("fast") < 15


def test_a_resolver_may_use_much_stack(make_neon: MakeNeon, slow_resolver: Path) -> None:
    """An NSS module that needs 300 KiB of stack fails as any resolver, and crashes nothing."""
    server = make_neon(
        {"neon_refresh.query_cancel_after": 0},
        pageservers="host=pageserver.deep port=6400",
        env={"LD_PRELOAD": str(slow_resolver)},
    )
    with Blocked(server, READ) as query:
        failures = "SELECT consecutive_failures FROM neon_refresh.shards"
        wait_until("an attempt", lambda: server.value(failures))
        end_at_limit(server)
        with pytest.raises(errors.ConnectionFailure):
            query.join()
    assert suspected(server)[1].startswith('could not resolve host "pageserver.deep"')
