"""devstack.pageserver.sharding: which shard a page belongs to."""

from typing import Any

import pytest

from devstack.pageserver import sharding
from devstack.pageserver.messages import Rel, Request


def getpage(**fields: Any) -> Request:
    """A page request; `relnode`, `forknum`, `blkno` may be given."""
    rel = Rel(
        spcnode=1663, dbnode=5, relnode=fields.get("relnode", 1), forknum=fields.get("forknum", 0)
    )
    return Request(
        kind=fields.get("kind", "getpage"),
        version=3,
        reqid=1,
        request_lsn=1,
        not_modified_since=1,
        rel=rel,
        blkno=fields.get("blkno", 0),
    )


def test_hash_combine() -> None:
    """The published test vector."""
    assert 0xFB7923C9 == sharding.hash_combine(0xB1FF3B40, 0)


@pytest.mark.parametrize(
    ("rel", "block", "count", "stripe", "shard"),
    [
        (0x400C, 0x7D06, 10, 32768, 8),
        (16384, 0, 4, 2048, 0),
        (16384, 2047, 4, 2048, 0),
        (16384, 2048, 4, 2048, 3),
        (16385, 10000, 8, 2048, 6),
        (16385, 10000, 1, 2048, 0),
        (16385, 10000, 0, 2048, 0),
    ],
)
def test_shard_of_block(rel: int, block: int, count: int, stripe: int, shard: int) -> None:
    """The published vectors, and no sharding below two shards."""
    assert shard == sharding.shard_of_block(rel, block, count=count, stripe_size=stripe)


def test_init_forks_and_metadata_belong_to_shard_0() -> None:
    """Only pages of the other forks are spread."""
    page = getpage(relnode=16384, blkno=2048)
    init = getpage(relnode=16384, blkno=2048, forknum=3)
    size = getpage(relnode=16384, blkno=2048, kind="nblocks")

    assert [3, 0, 0] == [
        sharding.shard_of_request(request, count=4, stripe_size=2048)
        for request in (page, init, size)
    ]


def test_ownership() -> None:
    """A server owns the pages of its shards, all pages, or none."""
    page = getpage(relnode=16384, blkno=2048)

    assert sharding.parse("0304").owns(page)
    assert sharding.parse(["0004", "0304"]).owns(page)
    assert not sharding.parse("0004,0104,0204").owns(page)
    assert sharding.parse("all").owns(page)
    assert not sharding.parse("none").owns(page)
    assert sharding.parse("0000").owns(page)


@pytest.mark.parametrize("text", ["all", "none", ["0d11"], ["0004", "0304"], ["0000"], ["0001"]])
def test_describe_is_what_parse_takes(text: str | list[str]) -> None:
    """The description reads back."""
    assert text == sharding.parse(text).describe()


@pytest.mark.parametrize(
    "text", ["", "04", "0404", "zz04", "0004,0003", "0004,all", "00004", "-104"]
)
def test_bad_shards(text: str) -> None:
    """A list that makes no sense is refused."""
    with pytest.raises(ValueError, match="shard"):
        sharding.parse(text)


def test_bad_stripe_size() -> None:
    """A stripe has at least one block."""
    with pytest.raises(ValueError, match="stripe"):
        sharding.parse("all", 0)
