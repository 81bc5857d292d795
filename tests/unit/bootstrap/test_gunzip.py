"""Decompressing a stream."""

import gzip

import pytest

from compute_ctl.bootstrap.gunzip import MAX_TRAILING_BYTES, Gunzip
from compute_ctl.errors import BackupError
from tests.unit.bootstrap.test_archive import Pieces

DATA = bytes(range(256)) * 1000


def read(packed: bytes) -> bytes:
    """Everything, in pieces of at most 1000 bytes."""
    source, whole = Gunzip(Pieces(packed)), b""
    while part := source.read(1000):
        assert 1000 >= len(part)
        whole += part
    return whole


def test_whole_stream() -> None:
    """The pieces make up the whole; zeros may follow."""
    assert DATA == read(gzip.compress(DATA))
    assert DATA == read(gzip.compress(DATA) + bytes(600))


@pytest.mark.parametrize(
    ("packed", "reason"),
    [
        (b"", "not complete"),
        (gzip.compress(DATA)[:-1], "not complete"),
        (gzip.compress(DATA)[:100], "not complete"),
        (b"tar" * 100, "damaged"),
        (gzip.compress(DATA)[:-8] + bytes(8), "damaged"),
        (gzip.compress(b"") + bytes(MAX_TRAILING_BYTES + 1), "follow"),
    ],
)
def test_bad_streams(packed: bytes, reason: str) -> None:
    """A stream that is cut, damaged, or followed by too much is refused."""
    with pytest.raises(BackupError, match=reason):
        read(packed)
