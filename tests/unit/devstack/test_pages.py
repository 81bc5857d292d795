"""devstack.pageserver.pages: a data directory's files as pages."""

import os
from pathlib import Path

import pytest

from devstack.pageserver.messages import Rel
from devstack.pageserver.pages import PageStore, StoreError

BLOCK = 8192
MAIN = Rel(spcnode=1663, dbnode=5, relnode=16384, forknum=0)


def rel(spc: int = 1663, db: int = 5, number: int = 16384, fork: int = 0) -> Rel:
    """A relation fork."""
    return Rel(spcnode=spc, dbnode=db, relnode=number, forknum=fork)


def block(char: str) -> bytes:
    """A block filled with one character."""
    return char.encode() * BLOCK


@pytest.fixture
def pgdata(tmp_path: Path) -> Path:
    """A data directory's tree with a few relations."""
    files = {
        "base/5/16384": block("a") + block("b"),
        "base/5/16384_fsm": block("f") * 3,
        "base/5/16384_vm": block("v"),
        "base/5/16384_init": block("i"),
        "base/5/PG_VERSION": b"15\n",
        "base/5/pg_filenode.map": b"m" * 512,
        "global/1262": block("g"),
        "pg_tblspc/20000/PG_15_202209061/5/30000": block("t"),
        "pg_xact/0000": block("x") * 2,
        "pg_multixact/members/0000": block("m"),
        "pg_multixact/offsets/000C": block("o") + b"part",
    }
    for name, data in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return tmp_path


@pytest.fixture
def store(pgdata: Path) -> PageStore:
    """A store over the tree."""
    return PageStore(pgdata)


@pytest.mark.parametrize(
    ("where", "blkno", "char"),
    [
        (rel(), 0, "a"),
        (rel(), 1, "b"),
        (rel(fork=1), 2, "f"),
        (rel(fork=2), 0, "v"),
        (rel(fork=3), 0, "i"),
        (rel(spc=1664, db=0, number=1262), 0, "g"),
        (rel(spc=20000, number=30000), 0, "t"),
    ],
)
def test_page(store: PageStore, where: Rel, blkno: int, char: str) -> None:
    """Forks and tablespaces are found where PostgreSQL keeps them."""
    assert block(char) == store.page(where, blkno)


def test_page_is_read_at_the_moment_of_the_request(store: PageStore, pgdata: Path) -> None:
    """A change of the file is seen at once, also when the file is replaced."""
    assert block("a") == store.page(MAIN, 0)
    new = pgdata / "new"
    new.write_bytes(block("c"))
    new.rename(pgdata / "base/5/16384")

    assert block("c") == store.page(MAIN, 0)


@pytest.mark.parametrize(
    ("where", "blkno"),
    [(rel(), 2), (rel(), 500_000), (rel(number=999, fork=1), 0), (rel(number=999, fork=2), 7)],
)
def test_beyond_the_end_is_zeros(store: PageStore, where: Rel, blkno: int) -> None:
    """A block beyond the end, and any block of a missing fsm or vm, is all zeros."""
    assert bytes(BLOCK) == store.page(where, blkno)


@pytest.mark.parametrize(
    "where", [rel(number=999), rel(number=999, fork=3), rel(number=0), rel(spc=777), rel(fork=4)]
)
def test_missing_relation(store: PageStore, where: Rel) -> None:
    """A relation that is not there cannot be read or measured."""
    with pytest.raises(StoreError):
        store.page(where, 0)
    with pytest.raises(StoreError):
        store.nblocks(where)


def test_a_torn_tail_is_not_a_page(store: PageStore, pgdata: Path) -> None:
    """A part of a block at the end of the file does not count."""
    with (pgdata / "base/5/16384").open("ab") as file:
        file.write(b"part")

    assert 2 == store.nblocks(MAIN)
    assert bytes(BLOCK) == store.page(MAIN, 2)


def test_segments(store: PageStore, pgdata: Path) -> None:
    """A relation goes on in the next 1 GiB file."""
    os.truncate(pgdata / "base/5/16384", 1 << 30)
    (pgdata / "base/5/16384.1").write_bytes(block("n"))

    assert 131_073 == store.nblocks(MAIN)
    assert block("n") == store.page(MAIN, 131_072)
    assert bytes(BLOCK) == store.page(MAIN, 131_071)


def test_nblocks_and_exists(store: PageStore) -> None:
    """Lengths count blocks; a missing fsm has none."""
    assert [2, 3, 0] == [
        store.nblocks(rel()),
        store.nblocks(rel(fork=1)),
        store.nblocks(rel(number=9, fork=1)),
    ]
    assert [True, False] == [store.exists(rel()), store.exists(rel(number=9))]


def test_db_size_counts_all_relation_forks(store: PageStore) -> None:
    """Other files of the database's folder do not count."""
    assert (2 + 3 + 1 + 1) * BLOCK == store.db_size(5)
    with pytest.raises(StoreError):
        store.db_size(6)


@pytest.mark.parametrize(
    ("kind", "segno", "data"),
    [(0, 0, block("x") * 2), (1, 0, block("m")), (2, 12, block("o"))],
)
def test_slru_segment(store: PageStore, kind: int, segno: int, data: bytes) -> None:
    """clog, members and offsets are read in whole blocks."""
    assert data == store.slru_segment(kind, segno)


def test_missing_slru_segment(store: PageStore) -> None:
    """A segment that is not there cannot be read."""
    with pytest.raises(StoreError):
        store.slru_segment(0, 1)
