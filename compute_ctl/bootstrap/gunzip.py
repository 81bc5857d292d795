"""Decompresses a stream; checks its checksum, and reads its source to the end."""

from __future__ import annotations

import zlib
from typing import Final

from compute_ctl.bootstrap.archive import PIECE, Source
from compute_ctl.errors import BackupError

MAX_TRAILING_BYTES: Final = 1 << 20


class Gunzip:
    """A gzip stream as a source of what is in it."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._stream = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
        self._input = b""

    def read(self, size: int, /) -> bytes:
        """Return up to *size* bytes, b"" only at the end of the source.

        Raises:
            BackupError: the stream is damaged or cut; or what the source raises.
        """
        while not self._stream.eof:
            try:
                data = self._stream.decompress(self._input, size)
            except zlib.error as error:
                raise BackupError(f"the archive is damaged: {error}") from None
            self._input = self._stream.unconsumed_tail
            if data:
                return data
            if not self._input and not self._stream.eof:
                self._input = self._source.read(PIECE)
                if not self._input:
                    raise BackupError("the archive is not complete")
        left = MAX_TRAILING_BYTES - len(self._stream.unused_data)
        while data := self._source.read(PIECE):
            left -= len(data)
            if left < 0:
                raise BackupError(f"more than {MAX_TRAILING_BYTES} bytes follow the archive")
        return b""
