"""The SQLSTATE of a refused login, which libpq gives only in the text of its message.

psycopg has no way to ask libpq for messages that name it, so `PQsetErrorVerbosity` is called by
ctypes, through the `pgconn_ptr` that psycopg offers for that. Where it cannot be found, the
SQLSTATE of a refused login stays unknown, and nothing is concluded from it.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from psycopg import pq

logger = logging.getLogger(__name__)

DEFAULT: Final = 1
VERBOSE: Final = 2
"""As in libpq-fe.h."""
_FATAL: Final = re.compile(r"(?m)(?<=: )(\S+:  )([0-9A-Z]{5}): ")
"""Severity (perhaps translated) and SQLSTATE, as libpq puts them before the server's message."""
_LOCATION: Final = re.compile(r"(?m)^LOCATION:.*\n?")
"""Source file and line of the server that reported it."""


def set_verbosity(connection: pq.abc.PGconn, level: int) -> None:
    """Have the messages of *connection* name the SQLSTATE (VERBOSE), or not (DEFAULT)."""
    call = _function()
    pointer: int | None = getattr(connection, "pgconn_ptr", None)
    if call is not None and pointer:
        call(pointer, level)


def split(message: str) -> tuple[str, str | None]:
    """Return a verbose *message* in its usual form, and the SQLSTATE of the server, if any.

    Of several servers that were tried the last one counts.
    """
    found = _FATAL.findall(message)
    plain = _LOCATION.sub("", _FATAL.sub(r"\1", message))
    return plain, found[-1][1] if found else None


@cache
def _function() -> Callable[[int, int], int] | None:
    """Return the `PQsetErrorVerbosity` of the libpq that psycopg uses; None if not found."""
    ctypes, pq = import_module("ctypes"), import_module("psycopg.pq")
    try:
        # A library's symbols can be reached through what is linked to it.
        path = sys.modules[pq.PGconn.__module__].__file__
        if pq.__impl__ == "python":
            path = import_module("psycopg.pq.misc").find_libpq_full_path()
        function = ctypes.CDLL(path).PQsetErrorVerbosity
    except (OSError, AttributeError, ImportError, TypeError) as error:
        logger.warning("the reasons of refused logins cannot be told apart: %s", error)
        return None
    function.argtypes = [ctypes.c_void_p, ctypes.c_int]
    function.restype = ctypes.c_int
    found: Callable[[int, int], int] = function
    return found
