"""Keeps OpenSSL from reading the system's authorities. A leaf."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

VARIABLES: Final = ("SSL_CERT_FILE", "SSL_CERT_DIR")
"""By which OpenSSL finds them."""


@contextmanager
def without_authorities() -> Iterator[None]:
    """Let TLS contexts that are made meanwhile trust nobody; enter it while one thread runs.

    aiohttp makes two for clients when it is imported, and reads all authorities for each, which is
    half of the import. `compute_common.http.client` never uses them.
    """
    known = {name: os.environ.get(name) for name in VARIABLES}
    os.environ.update(dict.fromkeys(VARIABLES, os.devnull))
    try:
        yield
    finally:
        for name, value in known.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
