"""The Authorization header. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from compute_common.errors import RequestError

HEADER: Final = "invalid authorization token"

_CHARACTERS: Final = r"[A-Za-z0-9._~+/=-]+"
_BEARER: Final = re.compile(rf"bearer +({_CHARACTERS})", re.IGNORECASE)


def bearer(headers: Iterable[str]) -> str:
    """Return the token in the Authorization header(s) of a request.

    Raises:
        RequestError: 400, there is not exactly one, or it is not a bearer token.
    """
    values = list(headers)
    match = _BEARER.fullmatch(values[0].strip()) if len(values) == 1 else None
    if match is None:
        raise RequestError(400, HEADER, hint="Send one header: Authorization: Bearer TOKEN.")
    return match[1]


def is_token(text: str) -> bool:
    """Return whether `bearer` can return *text* (RFC 6750, 2.1)."""
    return re.fullmatch(_CHARACTERS, text) is not None
