"""When catalog work is done on a real server: after the proof, once, and again if it failed."""

import asyncio
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from compute_common.document.document import decode_document
from compute_ctl.decisions.model import CatalogRun
from compute_ctl.monitoring.metrics import Metrics
from compute_ctl.node import Node
from compute_ctl.ports import CatalogOutcome
from devstack.postgres import Postgres, Template
from devstack.wait import until, wait_until
from tests.daemon.reconciling import document, staged
from tests.support.fixtures import PostgresFactory


@pytest.fixture(scope="module")
def server(template: Template) -> Iterator[Postgres]:
    """One server for the tests of this file; each uses names of its own."""
    with Postgres(template, name="reconciler") as made:
        yield made.start()


async def test_not_before_the_proof(server: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is done until Postgres runs with the configuration of the document."""
    async with staged(server) as fixture:
        checks: list[bool] = []
        may_begin = fixture.reconciler._may_begin

        def check(job: Any) -> bool:
            checks.append(may_begin(job))
            return checks[-1]

        monkeypatch.setattr(fixture.reconciler, "_may_begin", check)
        early, late = document("early"), document("late")
        fixture.desire(early)
        fixture.prove(late)
        answer = fixture.reconciler.request(early)
        await until("a check", lambda: checks)
        assert (False, False) == (any(checks), "early" in fixture.roles() or answer.done())
        fixture.prove(early)
        assert CatalogOutcome.DONE == (await asyncio.wait_for(answer, 20)).outcome
        assert "early" in fixture.roles()


async def test_once_for_what_is_wanted(server: Postgres) -> None:
    """What was done is remembered on disk and costs no SQL the next time, unless forced."""
    async with staged(server) as fixture:
        target = document("once", pageserver_connstring="postgresql://a")
        assert CatalogOutcome.DONE == (await fixture.apply(target)).outcome
        assert fixture.saved[-1].catalog_sha256 == fixture.node.config.state.catalog_sha256 != ""
        server.query("DROP ROLE once")
        moved = document("once", pageserver_connstring="postgresql://b")
        assert CatalogOutcome.UNCHANGED == (await fixture.apply(moved)).outcome
        assert "once" not in fixture.roles()
        assert CatalogOutcome.DONE == (await fixture.apply(moved, force=True)).outcome
        assert "once" in fixture.roles()


async def test_delta_runs_once_for_its_operation(server: Postgres) -> None:
    """A role that was deleted by an operation may come back, and that operation leaves it be."""
    deltas = [{"action": "delete_role", "name": "phoenix"}]
    async with staged(server) as fixture:
        server.query("CREATE ROLE phoenix")
        target = document(delta_operations=deltas, operation_uuid="first")
        await fixture.apply(target)
        assert "phoenix" not in fixture.roles()
        server.query("CREATE ROLE phoenix")
        await fixture.apply(target, force=True)
        assert "phoenix" in fixture.roles()
        await fixture.apply(document(delta_operations=deltas, operation_uuid="second"))
        assert "phoenix" not in fixture.roles()
        assert ("first", "second") == fixture.saved[-1].done_operations


async def test_failure_is_told_and_tried_again(server: Postgres) -> None:
    """The first attempt answers; the work is done once nothing is in the way any more."""
    database = [{"name": "awaited", "owner": "missing"}]
    cluster = {"roles": [], "databases": database}
    target = decode_document(msgspec.json.encode({"spec": {"cluster": cluster}}))
    async with staged(server, retry_max_s=0.1) as fixture:
        result = await fixture.apply(target)
        assert (CatalogOutcome.FAILED, True) == (result.outcome, "missing" in result.reason)
        assert (result.reason, "") == (
            fixture.node.server.catalog_error,
            fixture.node.config.state.catalog_sha256,
        )
        server.query("CREATE ROLE missing")
        await asyncio.to_thread(
            wait_until, "the work to be done", lambda: fixture.node.config.state.catalog_sha256
        )
        assert 1 == server.value("SELECT count(*) FROM pg_database WHERE datname = 'awaited'")


@pytest.mark.parametrize("instead", [{}, {"skip_pg_catalog_updates": True}])
async def test_failure_is_forgotten_with_its_job(server: Postgres, instead: dict[str, Any]) -> None:
    """Why work failed is no news any more once a document does not want it."""
    cluster = {"databases": [{"name": "never", "owner": "nobody_there"}]}
    target = decode_document(msgspec.json.encode({"spec": {"cluster": cluster}}))
    async with staged(server) as fixture:
        await fixture.apply(document("settled"))
        await fixture.apply(target)
        assert "nobody_there" in (fixture.node.server.catalog_error or "")
        result = await fixture.apply(document("settled", **instead))
        assert (CatalogOutcome.SKIPPED if instead else CatalogOutcome.UNCHANGED) == result.outcome
        assert None is fixture.node.server.catalog_error


@pytest.mark.parametrize(
    "spec", [{"skip_pg_catalog_updates": True}, {"mode": "Replica"}, {"cluster": {}}]
)
async def test_nothing_wanted(server: Postgres, spec: dict[str, Any]) -> None:
    """A document that leaves the catalog alone is answered at once."""
    target = decode_document(msgspec.json.encode({"spec": {"cluster": {}, **spec}}))
    async with staged(server) as fixture:
        fixture.desire(target)
        assert (
            CatalogOutcome.SKIPPED
            == (await asyncio.wait_for(fixture.reconciler.request(target), 20)).outcome
        )


async def test_newer_job_takes_its_place(server: Postgres) -> None:
    """Whoever waits for an older document hears that it is superseded."""
    async with staged(server) as fixture:
        old, new = document("older"), document("newer")
        fixture.desire(old)
        answer = fixture.reconciler.request(old)
        assert CatalogOutcome.DONE == (await fixture.apply(new)).outcome
        assert CatalogOutcome.SUPERSEDED == answer.result().outcome
        assert CatalogOutcome.SUPERSEDED == (await fixture.reconciler.request(old)).outcome
        assert {"newer"} == fixture.roles() & {"older", "newer"}


async def test_hanging_server_is_left_at_the_deadline(server: Postgres) -> None:
    """Work that waits for a lock ends in a failure at the deadline."""
    async with staged(server, deadline_s=1.0) as fixture:
        with server.connect(autocommit=False) as session:
            session.execute("LOCK TABLE pg_auth_members IN ACCESS EXCLUSIVE MODE")
            result = await fixture.apply(document("stuck"))
        assert CatalogOutcome.FAILED == result.outcome


REACHED = "SELECT id FROM neon_migration.migration_id"
PREPARED = "SELECT count(*) FROM pg_namespace WHERE nspname = 'neon_migration'"


async def test_migrations_come_after_the_roles(make_postgres: PostgresFactory) -> None:
    """They run once the document's own work is done, and the record says what was done when."""
    server = make_postgres({})
    async with staged(server) as fixture:
        skipped = document("unborn", skip_pg_catalog_updates=True)
        assert CatalogOutcome.SKIPPED == (await fixture.apply(skipped)).outcome
        assert 0 == server.value(PREPARED)
        runs = recorded(fixture.node)
        assert CatalogOutcome.DONE == (await fixture.apply(document("migrated"))).outcome
        await asyncio.to_thread(wait_until, "the migrations", lambda: len(runs) == 2)
        assert 12 == server.value(REACHED)
        assert [("catalog", "done", True), ("migrations", "done", True)] == [
            (run.kind.value, run.outcome, run.statements > 0) for run in runs
        ]
        assert runs[0].finished_at <= runs[1].started_at <= runs[1].finished_at
        assert runs[1] == fixture.node.server.last_catalog


async def test_failed_migration_costs_nobody_the_roles(make_postgres: PostgresFactory) -> None:
    """Who asked for roles has them; the failure is told, counted, and tried again."""
    server = make_postgres({})
    server.query("CREATE SCHEMA neon_migration")
    server.query("CREATE TABLE neon_migration.migration_id (key int PRIMARY KEY, id bigint)")
    server.query("INSERT INTO neon_migration.migration_id VALUES (0, 0)")
    server.query("ALTER TABLE neon_migration.migration_id ADD CONSTRAINT stuck CHECK (id < 4)")
    async with staged(server, retry_max_s=0.1) as fixture:
        runs = recorded(fixture.node)
        assert CatalogOutcome.DONE == (await fixture.apply(document("served"))).outcome
        await asyncio.to_thread(
            wait_until, "the failure", lambda: fixture.node.server.catalog_error
        )
        error = fixture.node.server.catalog_error or ""
        assert ("could not run migration 4:", 3) == (error[:26], server.value(REACHED))
        assert 4 == runs[1].failed_migration
        server.query("ALTER TABLE neon_migration.migration_id DROP CONSTRAINT stuck")
        await asyncio.to_thread(
            wait_until, "the last migration", lambda: runs[-1].outcome == "done"
        )
        assert (None, 12) == (fixture.node.server.catalog_error, server.value(REACHED))


async def test_strange_record_of_migrations(make_postgres: PostgresFactory) -> None:
    """A number that is none is told, and costs the reconciler neither its life nor the next try."""
    server = make_postgres({})
    server.query("CREATE SCHEMA neon_migration")
    server.query("CREATE TABLE neon_migration.migration_id (key int PRIMARY KEY, id text)")
    server.query("INSERT INTO neon_migration.migration_id VALUES (0, 'many')")
    async with staged(server, retry_max_s=0.1) as fixture:
        assert CatalogOutcome.DONE == (await fixture.apply(document("served"))).outcome
        await asyncio.to_thread(
            wait_until, "the failure", lambda: fixture.node.server.catalog_error
        )
        assert 'record "neon_migration.migration_id" is damaged: id "many"' == (
            fixture.node.server.catalog_error
        )
        server.query("UPDATE neon_migration.migration_id SET id = '12'")
        await asyncio.to_thread(
            wait_until, "the end of it", lambda: fixture.node.server.catalog_error is None
        )


def recorded(node: Node) -> list[CatalogRun]:
    """The work that the node is told of from now on."""

    class Observer(Metrics):
        def on_catalog(self, run: CatalogRun) -> None:
            runs.append(run)

    runs: list[CatalogRun] = []
    node.subscribe(Observer())
    return runs
