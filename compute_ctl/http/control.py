"""POST /configure, POST /rollback and POST /terminate."""

from __future__ import annotations

import asyncio
from typing import Final

from msgspec import Raw, Struct

from compute_ctl.decisions.transitions import Status
from compute_ctl.errors import RequestError
from compute_ctl.http.api import ApiResponse, Call, Listener, flag, json_response
from compute_ctl.http.body import decode
from compute_ctl.http.responses import LsnBody
from compute_ctl.http.views import status_body

MODES: Final = ("fast", "immediate")
TERMINATE_MARGIN_S: Final = 15.0
"""Beyond the fast stop: SIGQUIT, and what the daemon itself has to finish."""


class _Pushed(Struct):
    """What a caller from outside must send: without keys he would lock himself out."""

    spec: dict[str, Raw]
    compute_ctl_config: dict[str, Raw]


async def configure(call: Call) -> ApiResponse:
    """Apply a pushed document; answers when it is proven."""
    node = call.api.node
    if call.listener is Listener.EXTERNAL:
        decode(call.body, _Pushed)
    await node.configure(call.body, who=call.who, timeout_s=call.api.deadlines.configure)
    return json_response(status_body(node.snapshot()))


async def rollback(call: Call) -> ApiResponse:
    """Go back to the generation before the one applied; answers when it is proven."""
    node = call.api.node
    await node.roll_back(
        who=call.who,
        old_upstream=flag(call, "old_upstream"),
        timeout_s=call.api.deadlines.configure,
    )
    return json_response(status_body(node.snapshot()))


async def terminate(call: Call) -> ApiResponse:
    """Stop Postgres and the daemon; answers when Postgres has ended."""
    mode = call.query.get("mode", "fast")
    if mode not in MODES:
        raise RequestError(400, 'parameter "mode" must be fast or immediate')
    node = call.api.node
    if node.status is Status.TERMINATED:
        return json_response(LsnBody(lsn=node.server.lsn), 201)
    node.terminate(mode, who=call.who)
    limit = call.api.deadlines.stop_fast + TERMINATE_MARGIN_S
    try:
        await asyncio.wait_for(node.stopped.wait(), limit)
    except TimeoutError:
        raise RequestError(504, f"postgres has not ended within {limit:g} s") from None
    return json_response(LsnBody(lsn=node.server.lsn))
