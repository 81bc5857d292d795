"""Decompressing a stream."""

import gzip

import pytest

from compute_ctl.bootstrap.gunzip import MAX_TRAILING_BYTES, Gunzip
from compute_ctl.errors import BackupError
from tests.unit.bootstrap.test_archive import Pieces

DATA = bytes(range(256)) * 1000
PACKED = gzip.compress(DATA, mtime=0)


def read(packed: bytes) -> bytes:
    """Everything, in pieces of at most 1000 bytes."""
    source, whole = Gunzip(Pieces(packed)), b""
    while part := source.read(1000):
        assert 1000 >= len(part)
        whole += part
    return whole


def test_whole_stream() -> None:
    """The pieces make up the whole; zeros may follow."""
    assert DATA == read(PACKED)
    assert DATA == read(PACKED + bytes(600))


@pytest.mark.parametrize(
    ("packed", "reason"),
    [
        (b"", "not complete"),
        (PACKED[:-1], "not complete"),
        (PACKED[:20], "not complete"),
        (b"tar" * 100, "damaged"),
        (PACKED[:-8] + bytes(8), "damaged"),
        (gzip.compress(b"", mtime=0) + bytes(MAX_TRAILING_BYTES + 1), "follow"),
    ],
    ids=["empty", "cut at the end", "cut", "no gzip", "wrong checksum", "followed"],
)
def test_bad_streams(packed: bytes, reason: str) -> None:
    """A stream that is cut, damaged, or followed by too much is refused."""
    with pytest.raises(BackupError, match=reason):
        read(packed)
