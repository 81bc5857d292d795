"""The HTTP API: three doors, by what a caller may do.

A request passes `guard` (connections), `pipeline` (request id, log, who may, body, errors) and the
function that `routes` names, which knows nothing of aiohttp. `openapi` is made from the same table.
"""

from compute_ctl.http.doors import Doors

__all__ = ["Doors"]
