"""Postgres's own certificate and key: read again when somebody has renewed the files.

The configuration file names them where they are, so nothing is copied. A pair that does not fit,
as in the middle of a renewal, is not loaded: the next look finds the other half.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable

from compute_ctl.sidecars.wanted import Wanted, fingerprint


class Certificates:
    """The files that the document names for TLS."""

    name = "tls"

    def __init__(self, reload: Callable[[], object]) -> None:
        """*reload* has Postgres read its files again; called in a thread."""
        self._reload = reload
        self._loaded = ""

    def names(self, wanted: Wanted) -> bool:
        """Whether the document names such files."""
        return wanted.tls is not None

    def apply(self, wanted: Wanted) -> bool:
        """Have Postgres load renewed files. Blocks.

        Raises:
            OSError: they cannot be read, or do not fit (`ssl.SSLError` is one).
        """
        tls = wanted.tls
        found = fingerprint(tls)
        if tls is None or found == self._loaded:
            return True
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(
            tls.cert_path, tls.key_path, password=lambda: ""
        )
        self._reload()
        self._loaded = found
        return True
