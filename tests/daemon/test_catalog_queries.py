"""What the routes ask of a real server."""

from collections.abc import Iterator
from contextlib import aclosing
from typing import Any

import pytest

from compute_common.errors import RequestError
from compute_ctl.catalog import CatalogQueries
from compute_ctl.catalog.pg_dump import PgDump
from compute_ctl.errors import CatalogError, ProbeError, SqlError
from devstack.installation import binary
from devstack.postgres import Postgres, Template
from devstack.wait import wait_until
from tests.support.fixtures import PostgresFactory


@pytest.fixture(scope="module")
def server(template: Template) -> Iterator[Postgres]:
    """One server for the tests of this file."""
    with Postgres(template, name="queries") as made:
        made.configure({"shared_preload_libraries": "pg_stat_statements"})
        yield made.start()


def queries(server: Postgres) -> CatalogQueries:
    """The queries of *server*."""
    return CatalogQueries(server.dsn(), pg_dump=PgDump(server.dsn(), program=binary("pg_dump")))


async def dump(server: Postgres, database: str) -> str:
    """The whole schema of *database*."""
    async with aclosing(queries(server).database_schema(database)) as pieces:
        return b"".join([piece async for piece in pieces]).decode()


async def test_roles_and_databases(server: Postgres) -> None:
    """Roles come with their hashes, databases with owner and what keeps callers out."""
    server.query("CREATE ROLE hashed PASSWORD 'md5" + "0" * 32 + "'")
    server.query("CREATE DATABASE shut OWNER hashed ALLOW_CONNECTIONS false")
    found: Any = await queries(server).dbs_and_roles()
    role = {"name": "hashed", "encrypted_password": "md5" + "0" * 32, "options": None}
    assert role in found["roles"]
    shut = {"name": "shut", "owner": "hashed", "restrict_conn": True}
    postgres = {"name": "postgres", "owner": "postgres", "restrict_conn": False}
    for database in (shut, postgres):
        assert {**database, "options": None, "invalid": False} in found["databases"]


async def test_writability(server: Postgres) -> None:
    """Every check renews the one row, whether or not the table was there."""
    times = []
    for _ in range(2):
        await queries(server).check_writability()
        times += server.query("SELECT id, updated_at FROM public.health_check")
    assert [1, 1] == [number for number, _ in times]
    assert times[0][1] < times[1][1]


async def test_standby_is_not_writable(server: Postgres, make_postgres: PostgresFactory) -> None:
    """A server in recovery is not writable, and says why."""
    standby = make_postgres(start=False)
    (standby.data / "standby.signal").touch()
    standby.configure(
        {"primary_conninfo": "host=127.0.0.1 port=1", "max_connections": 100, "max_wal_senders": 10}
    )
    standby.start(wait=True)
    with pytest.raises(SqlError, match="read-only"):
        await queries(standby).check_writability()


async def test_insights(server: Postgres) -> None:
    """Statements of users are listed where the extension is, and none where it is not."""
    assert {"pg_stat_statements": []} == await queries(server).insights()
    server.query("CREATE SCHEMA elsewhere")
    server.query("CREATE EXTENSION pg_stat_statements SCHEMA elsewhere")
    server.query("CREATE ROLE talker LOGIN")
    with server.connect(user="talker") as session:
        session.execute("SELECT 1 AS spoken")
    found: Any = await queries(server).insights()
    listed = found["pg_stat_statements"]
    assert ["SELECT $1 AS spoken"] == [one["query"] for one in listed]


async def test_schema_is_dumped_whole(server: Postgres) -> None:
    """The dump has everything but what is ours."""
    await queries(server).check_writability()
    server.query('CREATE TABLE public."Theirs 🐘" (a int)')
    text = await dump(server, "postgres")
    found = [part in text for part in ("Theirs 🐘", "database dump complete", "health_check")]
    assert [True, True, False] == found, text


@pytest.mark.parametrize("name", ["nowhere", "", "template0", "x' OR true --"])
async def test_schema_of_no_database(server: Postgres, name: str) -> None:
    """A database that does not exist, or that nobody may enter, is a 404."""
    with pytest.raises(RequestError, match="database does not exist") as caught:
        await dump(server, name)
    assert 404 == caught.value.code


async def test_no_pg_dump(server: Postgres) -> None:
    """A program that is not there is an error, and takes no place for ever."""
    broken = CatalogQueries(
        server.dsn(), pg_dump=PgDump(server.dsn(), program="/nonexistent/pg_dump")
    )
    for _ in range(4):
        with pytest.raises(CatalogError, match=r"could not run .*pg_dump"):
            await anext(broken.database_schema("postgres"))


async def test_reader_who_leaves_ends_the_dump(server: Postgres) -> None:
    """Closing the answer early ends pg_dump, and its place is free again."""
    asked = queries(server)
    for _ in range(4):
        pieces = asked.database_schema("postgres")
        assert await anext(pieces)
        await pieces.aclose()
    wait_until(
        "no dump",
        lambda: server.value(
            "SELECT count(*) = 0 FROM pg_stat_activity WHERE application_name LIKE 'compute_ctl%'"
        ),
    )


async def test_extension_is_installed_and_updated(server: Postgres) -> None:
    """An extension is created in the version asked for, then brought to another."""
    installed = (
        "SELECT extversion, extnamespace::regnamespace::text FROM pg_extension WHERE extname = %s"
    )
    for version in ("1.9", "1.10"):
        await queries(server).install_extension(
            extension="pageinspect", database="postgres", version=version
        )
        assert [(version, "public")] == server.query(installed, "pageinspect")


async def test_unknown_extension(server: Postgres) -> None:
    """What the server does not have cannot be installed."""
    with pytest.raises(SqlError, match=r'extension "no"such" is not available'):
        await queries(server).install_extension(
            extension='no"such', database="postgres", version="1'0"
        )


async def test_grant_is_made_once(server: Postgres) -> None:
    """What is missing is granted; where nothing is, nothing is written."""
    server.query('CREATE SCHEMA "odd $x$"')
    server.query('CREATE ROLE "odd ""role"')
    target = {
        "database": "postgres",
        "schema": "odd $x$",
        "role": 'odd "role',
        "privileges": ["CREATE", "USAGE"],
    }
    await queries(server).grant(**target)  # type: ignore[arg-type] # one of four is a list
    before = server.value("SELECT xmin::text FROM pg_namespace WHERE nspname = 'odd $x$'")
    await queries(server).grant(**target)  # type: ignore[arg-type] # one of four is a list
    assert before == server.value("SELECT xmin::text FROM pg_namespace WHERE nspname = 'odd $x$'")
    found = (
        "SELECT has_schema_privilege(oid, 'odd $x$', 'CREATE, USAGE') FROM pg_roles"
        " WHERE rolname = 'odd \"role'"
    )
    assert server.value(found) is True


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"privileges": ["SUPER; DROP TABLE t"]}, 422),
        ({"privileges": ["SELECT"]}, None),
        ({"role": "nobody_there"}, None),
        ({"schema": "nowhere"}, None),
        ({"database": "nowhere"}, 404),
        ({"role": ""}, 422),
    ],
)
async def test_grant_refused(server: Postgres, change: dict[str, Any], code: int | None) -> None:
    """What cannot be granted says so, with a status where the caller is wrong."""
    target: dict[str, Any] = {
        "database": "postgres",
        "schema": "public",
        "role": "postgres",
        "privileges": ["CREATE", "USAGE"],
    }
    with pytest.raises(RequestError if code else SqlError) as caught:
        await queries(server).grant(**{**target, **change})
    assert code == getattr(caught.value, "code", None)


async def test_no_server() -> None:
    """Where nobody answers, that is said without the password."""
    conninfo = "host=127.0.0.1 port=1 user=x password=hunter2"
    nobody = CatalogQueries(conninfo, pg_dump=PgDump(conninfo, program="pg_dump"))
    with pytest.raises(ProbeError, match="could not connect") as caught:
        await nobody.dbs_and_roles()
    assert "hunter2" not in str(caught.value)
