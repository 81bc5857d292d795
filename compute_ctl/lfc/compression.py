"""Zstandard, as the reference compresses the state; with a bound on what comes out. Pure."""

from __future__ import annotations

from typing import Any, Final

from compute_ctl.errors import FileCacheError

MAX_STATE_BYTES: Final = 8 * 2**20
"""Of a state: enough for a cache of some 200 GB."""


def compress(state: bytes) -> bytes:
    """Return *state* as one frame. Raises FileCacheError: the library is not to be had."""
    return bytes(_zstandard().ZstdCompressor().compress(state))


def decompress(raw: bytes) -> bytes:
    """Return the state in *raw*.

    Raises:
        FileCacheError: it is no Zstandard, or too long, or the library is not to be had.
    """
    zstandard = _zstandard()
    decompressor = zstandard.ZstdDecompressor(max_window_size=MAX_STATE_BYTES)
    try:
        with decompressor.stream_reader(raw) as reader:
            state = bytes(reader.read(MAX_STATE_BYTES + 1))
    except zstandard.ZstdError as error:
        raise FileCacheError(f"the stored state cannot be decompressed: {error}") from error
    if len(state) > MAX_STATE_BYTES:
        raise FileCacheError(f"the stored state is longer than {MAX_STATE_BYTES} bytes")
    return state


def _zstandard() -> Any:
    try:
        import zstandard  # late: it costs 2 MB, and most computes have no file cache
    except ImportError as error:
        raise FileCacheError(f"the Python package zstandard cannot be used: {error}") from error
    return zstandard
