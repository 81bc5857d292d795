"""The route that promotes a standby."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from compute_common.document.document import Document, decode_document
from compute_common.document.json_text import refuse_duplicates
from compute_common.errors import RequestError, SpecError
from compute_common.http.api import ApiResponse, decode, json_response
from compute_common.redact import redact
from compute_common.system.blocking_worker import beside_loop
from compute_ctl.decisions.promotion import PromotionStatus
from compute_ctl.document.promotion import parse_lsn
from compute_ctl.http.api import Call
from compute_ctl.http.refresh import wait_seconds
from compute_ctl.http.responses import PromotionBody, PromotionErrorBody


class PromotionRequest(Struct, frozen=True, kw_only=True):
    """The body of POST /promote."""

    spec: dict[str, Raw] | None = None
    """That of the new primary; null: that in force, as a primary's."""
    compute_ctl_config: dict[str, Raw] | None = None
    """Null: that in force."""
    wal_flush_lsn: str | None = None
    """Where the log of the old primary ends; null: nothing is waited for."""


async def promote(call: Call) -> ApiResponse:
    """Make a primary of the standby; answer when it runs with the document."""
    wanted, node = decode(call.body, PromotionRequest), call.api.node
    if wanted.wal_flush_lsn is not None:
        try:
            parse_lsn(wanted.wal_flush_lsn)
        except ValueError as error:
            raise SpecError("wal_flush_lsn", str(error)) from None
    wait_s = wait_seconds(call)
    wait_s = call.api.deadlines.replay if wait_s is None else wait_s
    document = await _document(call, wanted, node.config.ctl_config)
    try:
        view = await node.promotions.promote(
            document,
            who=call.who,
            wal_flush_lsn=wanted.wal_flush_lsn,
            wait_s=wait_s,
            timeout_s=wait_s + call.api.deadlines.configure,
        )
    except RequestError as error:
        return _failed(error)
    return json_response(
        PromotionBody(
            status=view.status,
            lsn_wait_time_ms=view.lsn_wait_time_ms,
            pg_promote_time_ms=view.pg_promote_time_ms,
            reconfigure_time_ms=view.reconfigure_time_ms,
        )
    )


async def _document(call: Call, wanted: PromotionRequest, config: Any) -> Document | None:
    """Return the document of *wanted*, None where it has none. Raises RequestError, SpecError."""
    parts = {"spec": wanted.spec, "compute_ctl_config": wanted.compute_ctl_config or config}

    def read() -> Document | None:
        try:
            refuse_duplicates(call.body)
        except ValueError as error:
            raise RequestError(400, f"the request body is not valid: {error}") from None
        return None if wanted.spec is None else decode_document(msgspec.json.encode(parts))

    return await beside_loop(read, size=len(call.body), name="document")


def _failed(error: RequestError) -> ApiResponse:
    status = PromotionStatus.NOT_PROMOTED if error.code == 409 else PromotionStatus.FAILED
    hint: str | UnsetType = redact(error.hint) if error.hint else UNSET
    body = PromotionErrorBody(status=status, error=redact(str(error)), hint=hint)
    return json_response(body, error.code)
