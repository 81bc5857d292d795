"""Turns exceptions into responses: `{"error": "..."}`, with a `hint` where there is one."""

from __future__ import annotations

import logging
import math
from typing import Final

from aiohttp import web

from compute_common.errors import ComputeError, RequestError, SpecError, SyntaxSpecError
from compute_common.http.api import JSON, ApiResponse, json_response
from compute_common.http.bodies import encode, error_body

logger = logging.getLogger(__name__)

_CODES: Final = ((SyntaxSpecError, 400), (SpecError, 422))


def error_response(error: Exception) -> ApiResponse:
    """Return the response to a request that raised *error*."""
    if isinstance(error, RequestError):
        answer = json_response(error_body(str(error), error.hint), error.code)
        if error.code == 401:
            answer.headers["WWW-Authenticate"] = "Bearer"
        if error.retry_after_s is not None:
            answer.headers["Retry-After"] = str(math.ceil(error.retry_after_s))
        return answer
    for kind, code in _CODES:
        if isinstance(error, kind):
            return json_response(error_body(str(error), error.hint), code)
    if isinstance(error, ComputeError):
        return json_response(error_body(str(error), error.hint), 500)
    logger.error("unhandled exception in request", exc_info=error)
    return json_response(error_body("internal error"), 500)


def closing_response(code: int, message: str, *, program: str) -> web.Response:
    """Return an error response of *program* that closes the connection."""
    response = web.Response(
        body=encode(error_body(message)),
        status=code,
        headers={"Content-Type": JSON, "Server": program},
    )
    response.force_close()
    return response
