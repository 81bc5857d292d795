"""The pageserver stand-in over a real data directory: every answer is what Postgres itself says."""

import struct
from collections.abc import Iterator

import pytest

from devstack.installation import make_folder
from devstack.launch import Pageserver, start_pageserver
from devstack.postgres import Postgres, Template
from tests.unit.devstack.clients import NEWEST, TENANT, TIMELINE, StreamClient, getpage, nblocks

BLOCK = 8192
FORKS = ("main", "fsm", "vm")
GLOBAL, DEFAULT = 1664, 1663


@pytest.fixture(scope="module")
def postgres(template: Template) -> Iterator[Postgres]:
    """A server with a table of some pages, vacuumed and flushed."""
    with Postgres(template, name="pages") as server, server.start().connect() as connection:
        connection.execute(
            "CREATE TABLE t AS SELECT i, repeat('x', 100) FROM generate_series(1, 5000) i"
        )
        connection.execute("VACUUM t")
        connection.execute("CHECKPOINT")
        yield server


@pytest.fixture(scope="module")
def pageserver(
    postgres: Postgres, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pageserver]:
    """A pageserver over its data directory."""
    with start_pageserver(
        pgdata=postgres.data,
        tenant=TENANT,
        timeline=TIMELINE,
        log_dir=tmp_path_factory.mktemp("log"),
    ) as running:
        yield running


@pytest.fixture
def client(pageserver: Pageserver) -> Iterator[StreamClient]:
    """A stream to it."""
    with StreamClient(pageserver.url) as stream:
        yield stream


def database(postgres: Postgres) -> int:
    """OID of the connected database."""
    oid: int = postgres.value("SELECT oid FROM pg_database WHERE datname = current_database()")
    return oid


def rel_bytes(postgres: Postgres, name: str, fork: str = "main") -> bytes:
    """A relation's fork as the protocol names it."""
    space, number, shared = postgres.query(
        "SELECT CASE reltablespace WHEN 0 THEN 1663 ELSE reltablespace END,"
        " pg_relation_filenode(oid), relisshared FROM pg_class WHERE oid = %s::regclass",
        name,
    )[0]
    db = 0 if shared else database(postgres)
    return struct.pack("!IIIB", space, db, number, FORKS.index(fork))


@pytest.mark.parametrize("fork", FORKS)
@pytest.mark.parametrize("name", ["t", "pg_class", "pg_database"])
def test_forks_of_tables(postgres: Postgres, client: StreamClient, name: str, fork: str) -> None:
    """Length and pages of a user's, a catalog's and a shared table are those of Postgres."""
    rel = rel_bytes(postgres, name, fork)
    size = postgres.value("SELECT pg_relation_size(%s::regclass, %s)", name, fork)
    path = postgres.value("SELECT pg_relation_filepath(%s::regclass)", name)
    file = path if fork == "main" else f"{path}_{fork}"

    answer = client.ask(nblocks(rel=rel)) or b""
    assert struct.unpack("!I", answer[-4:])[0] == size // BLOCK

    for blkno in range(size // BLOCK):
        expected = postgres.value(
            "SELECT pg_read_binary_file(%s, %s, %s)", file, blkno * BLOCK, BLOCK
        )
        answer = client.ask(getpage(blkno, rel=rel)) or b""
        assert answer[-BLOCK:] == expected
    assert size > 0 or fork != "main"


def test_pages_follow_the_server(postgres: Postgres, client: StreamClient) -> None:
    """After a checkpoint the change is served, and after a rewrite the new file is."""
    rel = rel_bytes(postgres, "t")
    before = client.ask(getpage(0, rel=rel))
    postgres.query("UPDATE t SET i = -i WHERE i < 10")
    postgres.query("CHECKPOINT")
    assert client.ask(getpage(0, rel=rel)) != before

    postgres.query("CREATE TABLE other AS SELECT 1")
    old = rel_bytes(postgres, "other")
    postgres.query("TRUNCATE other")
    postgres.query("CHECKPOINT")
    new = rel_bytes(postgres, "other")
    assert new != old
    assert (client.ask(nblocks(rel=new)) or b"")[-4:] == bytes(4)


def test_tablespace(postgres: Postgres, client: StreamClient) -> None:
    """A table in a tablespace is found through its link."""
    folder = make_folder("pgspc-")
    try:
        postgres.query(f"CREATE TABLESPACE elsewhere LOCATION '{folder}'")
        postgres.query("CREATE TABLE far TABLESPACE elsewhere AS SELECT 1")
        postgres.query("CHECKPOINT")
        rel = rel_bytes(postgres, "far")
        assert struct.unpack_from("!I", rel)[0] not in (DEFAULT, GLOBAL)

        path = postgres.value("SELECT pg_relation_filepath('far')")
        expected = postgres.value("SELECT pg_read_binary_file(%s)", path)

        assert (client.ask(getpage(0, rel=rel)) or b"")[-BLOCK:] == expected
    finally:
        postgres.query("DROP TABLE IF EXISTS far")
        postgres.query("CHECKPOINT")
        postgres.query("DROP TABLESPACE IF EXISTS elsewhere")
        folder.rmdir()


def test_init_fork(postgres: Postgres, client: StreamClient) -> None:
    """An unlogged table has an init fork."""
    postgres.query("CREATE UNLOGGED TABLE u (i int PRIMARY KEY)")
    postgres.query("CHECKPOINT")
    rel = rel_bytes(postgres, "u_pkey")[:-1] + b"\x03"
    path = postgres.value("SELECT pg_relation_filepath('u_pkey')") + "_init"
    expected = postgres.value("SELECT pg_read_binary_file(%s)", path)

    assert (client.ask(getpage(0, rel=rel)) or b"")[-BLOCK:] == expected[:BLOCK]


def test_database_size(postgres: Postgres, client: StreamClient) -> None:
    """The size of a database is that of all its relations' forks."""
    expected = postgres.value(
        "SELECT sum(s.size) FROM pg_ls_dir('base/' || %s) AS d(name),"
        " pg_stat_file('base/' || %s || '/' || d.name) AS s"
        " WHERE d.name ~ '^[0-9]'",
        str(database(postgres)),
        str(database(postgres)),
    )
    request = b"\x03" + struct.pack("!QQQI", 1, NEWEST, 1, database(postgres))

    assert struct.unpack("!q", (client.ask(request) or b"")[-8:])[0] == expected


@pytest.mark.parametrize(
    ("kind", "folder"), [(0, "pg_xact"), (1, "pg_multixact/members"), (2, "pg_multixact/offsets")]
)
def test_slru(postgres: Postgres, client: StreamClient, kind: int, folder: str) -> None:
    """The first segment of each SLRU is the server's file."""
    expected = postgres.value("SELECT pg_read_binary_file(%s)", f"{folder}/0000")
    request = b"\x04" + struct.pack("!QQQBI", 1, NEWEST, 1, kind, 0)

    answer = client.ask(request) or b""

    assert struct.unpack("!I", answer[30:34])[0] == len(expected) // BLOCK
    assert answer[34:] == expected
