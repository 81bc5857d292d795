"""What the routes ask of a real server."""

import json
from collections.abc import Iterator
from contextlib import aclosing
from typing import Any

import pytest

from compute_ctl.catalog import Desk
from compute_ctl.errors import RequestError
from tests.support.fixtures import PostgresFactory
from tests.support.postgres import Postgres, Template, binary
from tests.support.wait import wait_until


@pytest.fixture(scope="module")
def server(template: Template) -> Iterator[Postgres]:
    """One server for the tests of this file."""
    with Postgres(template, name="desk") as made:
        made.configure({"shared_preload_libraries": "pg_stat_statements"})
        yield made.start()


def desk(server: Postgres) -> Desk:
    """The desk of *server*."""
    return Desk(server.dsn(), pg_dump=binary("pg_dump"))


async def dump(server: Postgres, database: str) -> str:
    """The whole schema of *database*."""
    pieces: Any = await desk(server).database_schema(database)
    async with aclosing(pieces):
        return b"".join([piece async for piece in pieces]).decode()


async def test_roles_and_databases(server: Postgres) -> None:
    """Roles come with their hashes, databases with owner and what keeps callers out."""
    server.query("CREATE ROLE hashed PASSWORD 'md5" + "0" * 32 + "'")
    server.query("CREATE DATABASE shut OWNER hashed ALLOW_CONNECTIONS false")
    found = await desk(server).dbs_and_roles()
    assert "md5" + "0" * 32 == found.roles["hashed"].encrypted_password
    shut, postgres = found.databases["shut"], found.databases["postgres"]
    assert ("hashed", True, False) == (shut.owner, shut.restrict_conn, shut.invalid)
    assert ("postgres", False, False) == (
        postgres.owner,
        postgres.restrict_conn,
        postgres.invalid,
    )


async def test_writability(server: Postgres) -> None:
    """Every check renews the one row, whether or not the table was there."""
    times = []
    for _ in range(2):
        await desk(server).check_writability()
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
    with pytest.raises(RequestError, match=r"read-only|recovery") as caught:
        await desk(standby).check_writability()
    assert 500 == caught.value.code


async def test_insights(server: Postgres) -> None:
    """Statements of users are listed where the extension is, and none where it is not."""
    assert {"pg_stat_statements": []} == json.loads(await desk(server).insights())
    server.query("CREATE SCHEMA elsewhere")
    server.query("CREATE EXTENSION pg_stat_statements SCHEMA elsewhere")
    server.query("CREATE ROLE talker LOGIN")
    with server.connect(user="talker") as session:
        session.execute("SELECT 1 AS spoken")
    listed = json.loads(await desk(server).insights())["pg_stat_statements"]
    assert ["SELECT $1 AS spoken"] == [one["query"] for one in listed]


async def test_schema_is_dumped_whole(server: Postgres) -> None:
    """The dump has everything but what is ours."""
    await desk(server).check_writability()
    server.query('CREATE TABLE public."Theirs 🐘" (a int)')
    text = await dump(server, "postgres")
    found = [part in text for part in ("Theirs 🐘", "database dump complete", "health_check")]
    assert [True, True, False] == found, text


@pytest.mark.parametrize("name", ["nowhere", "", "template0", "x' OR true --"])
async def test_schema_of_no_database(server: Postgres, name: str) -> None:
    """A database that does not exist, or that nobody may enter, is a 404."""
    with pytest.raises(RequestError, match="database does not exist") as caught:
        await desk(server).database_schema(name)
    assert 404 == caught.value.code


async def test_no_pg_dump(server: Postgres) -> None:
    """A program that is not there is a 500, and takes no place for ever."""
    broken = Desk(server.dsn(), pg_dump="/nonexistent/pg_dump")
    for _ in range(4):
        with pytest.raises(RequestError, match="failed to execute pg_dump") as caught:
            await broken.database_schema("postgres")
        assert 500 == caught.value.code


async def test_reader_who_leaves_ends_the_dump(server: Postgres) -> None:
    """Closing the answer early ends pg_dump, and its place is free again."""
    asked = desk(server)
    for _ in range(4):
        pieces: Any = await asked.database_schema("postgres")
        await pieces.aclose()
    wait_until(
        "no dump",
        lambda: server.value(
            "SELECT count(*) = 0 FROM pg_stat_activity WHERE application_name LIKE 'compute_ctl%'"
        ),
    )


async def test_extension_is_installed_and_updated(server: Postgres) -> None:
    """An extension is created in the version asked for, then brought to another."""
    for version in ("1.9", "1.10"):
        installed = await desk(server).install_extension(
            extension="pageinspect", database="postgres", version=version
        )
        assert version == installed
    schema = "SELECT extnamespace::regnamespace::text FROM pg_extension WHERE extname = %s"
    assert "public" == server.value(schema, "pageinspect")


async def test_unknown_extension(server: Postgres) -> None:
    """What the server does not have cannot be installed."""
    with pytest.raises(
        RequestError, match=r"failed to install extension: .*not available"
    ) as caught:
        await desk(server).install_extension(
            extension='no"such', database="postgres", version="1'0"
        )
    assert 500 == caught.value.code


async def test_grant_is_made_once(server: Postgres) -> None:
    """What is missing is granted; where nothing is, nothing is written."""
    server.query('CREATE SCHEMA "odd $x$"')
    server.query('CREATE ROLE "odd ""role"')
    wish = {
        "database": "postgres",
        "schema": "odd $x$",
        "role": 'odd "role',
        "privileges": ["CREATE", "USAGE"],
    }
    await desk(server).grant(**wish)  # type: ignore[arg-type] # one of four is a list
    before = server.value("SELECT xmin::text FROM pg_namespace WHERE nspname = 'odd $x$'")
    await desk(server).grant(**wish)  # type: ignore[arg-type] # one of four is a list
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
        ({"privileges": ["SELECT"]}, 500),
        ({"role": "nobody_there"}, 500),
        ({"schema": "nowhere"}, 500),
        ({"database": "nowhere"}, 404),
        ({"role": ""}, 422),
    ],
)
async def test_grant_refused(server: Postgres, change: dict[str, Any], code: int) -> None:
    """What cannot be granted says so, with the code that fits."""
    wish: dict[str, Any] = {
        "database": "postgres",
        "schema": "public",
        "role": "postgres",
        "privileges": ["CREATE", "USAGE"],
    }
    with pytest.raises(RequestError) as caught:
        await desk(server).grant(**{**wish, **change})
    assert code == caught.value.code


async def test_no_server() -> None:
    """Where nobody answers, the caller is told to try again."""
    nobody = Desk("host=127.0.0.1 port=1 user=x password=hunter2", pg_dump="pg_dump")
    with pytest.raises(RequestError, match="could not connect") as caught:
        await nobody.dbs_and_roles()
    assert (503, False) == (caught.value.code, "hunter2" in str(caught.value))
