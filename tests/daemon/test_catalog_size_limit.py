"""The size of a cluster is unlimited while catalog work runs, and only then."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from compute_common.document.document import decode_document
from compute_ctl.document.render import SIZE_LIMIT_OVERRIDE as FILE_NAME
from compute_ctl.ports import CatalogOutcome
from devstack.wait import wait_until
from tests.daemon.reconciling import CatalogFixture, document, staged
from tests.support.fixtures import PostgresFactory


@asynccontextmanager
async def limited(
    make_postgres: PostgresFactory, **reconciler: Any
) -> AsyncIterator[CatalogFixture]:
    """A reconciler of a server whose size is limited."""
    server = make_postgres({"neon.max_cluster_size": 512})
    with (server.data / "postgresql.conf").open("a") as conf:
        conf.write(f"include_if_exists = '{FILE_NAME}'\n")
    async with staged(server, **reconciler) as fixture:
        yield fixture


LIMIT = {"neon.max_cluster_size": "512"}
NOW = "SELECT current_setting('neon.max_cluster_size')"


async def test_size_limit_is_lifted_and_put_back(make_postgres: PostgresFactory) -> None:
    """While statements run there is no limit; afterwards there is, and no file."""
    async with limited(make_postgres) as fixture:
        server, seen = fixture.server, []
        with server.connect(autocommit=False) as session:
            session.execute("LOCK TABLE pg_auth_members IN ACCESS EXCLUSIVE MODE")
            work = asyncio.create_task(fixture.apply(document("heavy", settings=LIMIT)))
            waits = (
                "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
                " AND application_name = 'compute_ctl:apply_config'"
            )
            await asyncio.to_thread(wait_until, "work to wait", lambda: server.value(waits))
            seen.append(server.value(NOW))
        assert CatalogOutcome.DONE == (await work).outcome
        seen.append(server.value(NOW))
        assert ["-1", "512"] == seen
        assert not (server.data / FILE_NAME).exists()


async def test_size_limit_is_put_back_after_a_failure(make_postgres: PostgresFactory) -> None:
    """Work that fails leaves the limit as it was."""
    cluster = {
        "roles": [],
        "databases": [{"name": "d", "owner": "missing"}],
        "settings": [{"name": "neon.max_cluster_size", "value": "512"}],
    }
    target = decode_document(msgspec.json.encode({"spec": {"cluster": cluster}}))
    async with limited(make_postgres) as fixture:
        assert CatalogOutcome.FAILED == (await fixture.apply(target)).outcome
        assert "512" == fixture.server.value(NOW)
        assert not (fixture.server.data / FILE_NAME).exists()


async def test_override_left_by_a_crash_is_removed(make_postgres: PostgresFactory) -> None:
    """A file that an earlier daemon has left goes at the start, and the server forgets it."""
    server = make_postgres({"neon.max_cluster_size": 512})
    with (server.data / "postgresql.conf").open("a") as conf:
        conf.write(f"include_if_exists = '{FILE_NAME}'\n")
    (server.data / FILE_NAME).write_text("neon.max_cluster_size = -1\n")
    (server.data / FILE_NAME).chmod(0o644)
    server.reload()
    wait_until("the limit to be lifted", lambda: server.value(NOW) == "-1")
    async with staged(server):
        await asyncio.to_thread(
            wait_until, "the limit to be put back", lambda: server.value(NOW) == "512"
        )
        assert not (server.data / FILE_NAME).exists()
