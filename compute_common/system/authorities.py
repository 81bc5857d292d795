"""Makes the import of aiohttp faster. A leaf."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

VARIABLES: Final = ("SSL_CERT_FILE", "SSL_CERT_DIR")
"""Name the file and the folder from which OpenSSL reads the system's authorities."""


@contextmanager
def without_authorities() -> Iterator[None]:
    """Keep TLS contexts that are made in this block from loading the system's authorities.

    For the import of aiohttp, which makes two contexts for clients; to load the authorities into
    them takes half of its time. `compute_common.http.client` never uses them. No other thread may
    read or change the environment meanwhile.
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
