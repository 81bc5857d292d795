"""Reading pages from a pageserver."""

import hashlib
from pathlib import Path

import psycopg
import pytest
from psycopg import errors

from devstack.installation import give_away
from devstack.postgres import Postgres
from devstack.tokens import KeyPair
from devstack.wait import wait_until
from tests.pg.conftest import TABLE_PAGES, TENANT, MakeNeon, MakePageserver
from tests.pg.queries import Blocked, end_at_limit, suspected

SAME_PAGES = """
    SELECT count(*), bool_and(neon_refresh.read_page('t', n) = get_raw_page('t', n::int))
    FROM generate_series(0, %s) n
"""


@pytest.mark.parametrize("version", [2, 3])
def test_pages_are_the_pages_of_the_table(
    make_neon: MakeNeon, make_pageserver: MakePageserver, version: int
) -> None:
    """read_page returns what pageinspect reads from the file, in both protocol versions."""
    pageserver = make_pageserver()
    server = make_neon({"neon.protocol_version": version}, pageservers=pageserver.url)

    assert (TABLE_PAGES, True) == server.query(SAME_PAGES, TABLE_PAGES - 1)[0]
    assert TABLE_PAGES == pageserver.admin.stats()["requests"]["getpage"]


def test_metadata_is_that_of_the_relation(
    make_neon: MakeNeon, make_pageserver: MakePageserver
) -> None:
    """rel_nblocks, rel_exists and db_size answer for relations, forks and databases."""
    pageserver = make_pageserver()
    server = make_neon(pageservers=pageserver.url)
    blocks = server.value("SELECT pg_relation_size('t') / 8192")

    assert blocks == server.value("SELECT neon_refresh.rel_nblocks('t')")
    assert server.value("SELECT neon_refresh.rel_exists('t')") is True
    assert server.value("SELECT neon_refresh.rel_exists('t', 'init')") is False
    oid = server.value("SELECT oid FROM pg_database WHERE datname = 'postgres'")
    assert server.value("SELECT neon_refresh.db_size(%s::oid)", oid) > 4_000_000


def test_exact_reads_name_relation_fork_and_position(
    make_neon: MakeNeon, make_pageserver: MakePageserver
) -> None:
    """read_page_at reads by numbers at one LSN, and an LSN that is gone is an error of class 58."""
    pageserver = make_pageserver()
    server = make_neon(pageservers=pageserver.url)
    read = """
        SELECT neon_refresh.read_page_at(
            c.reltablespace, 0, c.relfilenode, 'main', 3, %s::pg_lsn)
        FROM pg_class c WHERE relname = 't'
    """.replace(
        "c.reltablespace, 0", "1663, (SELECT oid FROM pg_database WHERE datname = 'postgres')"
    )

    expected = hashlib.sha256(server.value("SELECT get_raw_page('t', 3)")).hexdigest()
    assert expected == hashlib.sha256(server.value(read, "0/1700000")).hexdigest()

    pageserver.admin.set_lsn(gc_cutoff="0/2000000")
    with pytest.raises(errors.IoError) as caught:
        server.value(read, "0/1700000")
    assert caught.value.diag.message_detail is not None
    assert caught.value.diag.message_detail.startswith("page server returned error: Bad request")
    assert 0 == server.value("SELECT events_total FROM neon_refresh.stat")


def test_pages_come_from_the_shard_that_owns_them(
    make_neon: MakeNeon, make_pageserver: MakePageserver
) -> None:
    """With two shards on two pageservers each serves a part, and no request is misrouted."""
    a = make_pageserver(shards=["0002"], stripe_size=8)
    b = make_pageserver(shards=["0102"], stripe_size=8)
    server = make_neon({"neon.stripe_size": 8}, pageservers=f"{a.url},{b.url}")

    assert (TABLE_PAGES, True) == server.query(SAME_PAGES, TABLE_PAGES - 1)[0]
    pages = [ps.admin.stats()["pages_sent"] for ps in (a, b)]
    assert TABLE_PAGES == sum(pages)
    assert min(pages) >= TABLE_PAGES // 4
    assert [0, 0] == [ps.admin.stats()["misrouted"] for ps in (a, b)]


def test_login_with_a_token_that_is_rotated(
    make_neon: MakeNeon, make_pageserver: MakePageserver, tmp_path: Path
) -> None:
    """The token file is read at each connect, so a rotated token needs no restart."""
    keys = KeyPair.create(tmp_path)
    pageserver = make_pageserver(auth_key=keys.public_path)
    token = Path(make_neon({}, start=False, name="files").folder) / "token"
    token.write_text("old\n")
    give_away(token)
    server = make_neon(
        {
            "neon_refresh.auth_token_file": str(token),
            "neon_refresh.query_cancel_after": 0,
        },
        pageservers=pageserver.url,
    )

    with Blocked(server, "SELECT neon_refresh.rel_nblocks('t')") as query:
        wait_until("a refused login", lambda: "wrong" == suspected(server)[0])
        end_at_limit(server)
        with pytest.raises(errors.ConnectionFailure, match="shard 0 within 10 ms"):
            query.join()
    token.write_text(keys.token(TENANT) + "\n")
    server.configure({"neon_refresh.query_cancel_after": "20s"})
    server.reload()

    assert server.value("SELECT neon_refresh.rel_nblocks('t')") >= TABLE_PAGES


def test_login_with_the_token_of_the_environment(
    make_neon: MakeNeon, make_pageserver: MakePageserver, tmp_path: Path
) -> None:
    """Without a file the token is NEON_AUTH_TOKEN."""
    keys = KeyPair.create(tmp_path)
    pageserver = make_pageserver(auth_key=keys.public_path)
    server = make_neon(pageservers=pageserver.url, env={"NEON_AUTH_TOKEN": keys.token(TENANT)})

    assert server.value("SELECT neon_refresh.rel_nblocks('t')") >= TABLE_PAGES


def test_host_names_are_resolved(make_neon: MakeNeon, make_pageserver: MakePageserver) -> None:
    """A host name works as well as an address."""
    pageserver = make_pageserver()
    server = make_neon(pageservers=f"host=localhost port={pageserver.port} user=no_user")

    assert server.value("SELECT neon_refresh.rel_nblocks('t')") >= TABLE_PAGES


REFUSED = {
    "negative block": ("SELECT neon_refresh.read_page('pg_class', -1)", "22023"),
    "block beyond the last number": (
        "SELECT neon_refresh.read_page('pg_class', 4294967295)",
        "22023",
    ),
    "unknown fork": ("SELECT neon_refresh.read_page('pg_class', 0, 'side')", "22023"),
    "view": ("SELECT neon_refresh.read_page('pg_stats', 0)", "42809"),
    "temporary table": ("SELECT neon_refresh.read_page('pg_temp.scratch', 0)", "0A000"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_senseless_arguments_are_refused(postgresql: psycopg.Connection[object], case: str) -> None:
    """What cannot be on a pageserver is refused before anybody is asked."""
    sql, sqlstate = REFUSED[case]
    postgresql.autocommit = True
    postgresql.execute("CREATE EXTENSION neon_refresh")
    postgresql.execute("CREATE TEMP TABLE scratch ()")

    with pytest.raises(psycopg.Error) as caught:
        postgresql.execute(sql.encode())
    assert caught.value.sqlstate == sqlstate


def test_an_empty_list_is_not_configured(make_neon: MakeNeon) -> None:
    """Without pageservers a request says so, and nothing is suspected."""
    server: Postgres = make_neon()

    with pytest.raises(errors.ObjectNotInPrerequisiteState, match="no pageserver is configured"):
        server.value("SELECT neon_refresh.read_page('t', 0)")
    assert 0 == server.value("SELECT events_total FROM neon_refresh.stat")
