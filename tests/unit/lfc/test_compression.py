"""What is kept of the file cache is compressed, and what comes back is bounded."""

import sys
from collections.abc import Callable

import pytest
import zstandard

from compute_ctl.errors import FileCacheError
from compute_ctl.lfc.compression import MAX_STATE_BYTES, compress, decompress


@pytest.mark.parametrize("state", [b"", b"state", bytes(MAX_STATE_BYTES)])
def test_there_and_back(state: bytes) -> None:
    """Any other Zstandard reads it, and it reads theirs, which need not tell its length."""
    assert state == decompress(compress(state))
    streamed = zstandard.ZstdCompressor().compressobj()
    assert state == decompress(streamed.compress(state) + streamed.flush())


@pytest.mark.parametrize("tells_size", [True, False])
def test_too_long(tells_size: bool) -> None:
    """A bomb is refused, whatever its header says."""
    one = zstandard.ZstdCompressor(write_content_size=tells_size)
    with pytest.raises(FileCacheError, match="longer than"):
        decompress(one.compress(bytes(MAX_STATE_BYTES + 1)))


def test_nonsense() -> None:
    """It is refused with the reason."""
    with pytest.raises(FileCacheError, match="cannot be decompressed"):
        decompress(b"no zstandard")


@pytest.mark.parametrize("work", [compress, decompress])
def test_without_the_library(
    work: Callable[[bytes], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failure of the file cache, not the end of the daemon."""
    monkeypatch.setitem(sys.modules, "zstandard", None)
    with pytest.raises(FileCacheError, match="zstandard"):
        work(b"")
