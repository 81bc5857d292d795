"""The HTTP API, on three listeners that differ in what a caller may do.

A request passes `limits` (connections), `pipeline` (request id, log, authentication, body, errors)
and the function that `routes` names, which knows nothing of aiohttp. `openapi` is generated from
the same table.
"""

from compute_ctl.http.server import HttpServer

__all__ = ["HttpServer"]
