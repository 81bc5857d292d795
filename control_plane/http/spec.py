"""`GET /compute/api/v2/computes/ID/spec`: the document of a compute, now or when it changes.

The protocol is that of Neon's compute_ctl, plus what a caller may leave out: `If-None-Match`, and
`Prefer: wait=N` (RFC 7240), which holds a request for what the caller knows already until the
document changes or N seconds are over. The first request after our start is not held: we do not
know what the compute runs with, and the answer tells it to report again.
"""

from __future__ import annotations

import re
from typing import Final

from compute_common.errors import RequestError
from compute_common.http.api import ApiResponse
from control_plane.decisions.documents import etag
from control_plane.decisions.model import ComputeRecord
from control_plane.http.api import Api, ApiCall
from control_plane.http.holds import unavailable
from control_plane.http.tokens import WRONG_TOKEN

MAX_WAIT_S: Final = 60
_WAIT: Final = re.compile(r"(?:^|[,;\s])wait\s*=\s*\"?([0-9]{1,6})\"?\s*(?:$|[,;])", re.IGNORECASE)


def preferred_wait(header: str) -> int | None:
    """Return the seconds of `Prefer: wait=N` that are honoured, None where none are preferred."""
    asked = _WAIT.search(header)
    return None if asked is None else min(int(asked[1]), MAX_WAIT_S)


def entity_tags(header: str) -> frozenset[str]:
    """Return the tags of `If-None-Match`, which compares weakly (RFC 9110, 13.1.2)."""
    return frozenset(tag.strip().removeprefix("W/") for tag in header.split(",")) - {""}


async def spec(call: ApiCall) -> ApiResponse:
    """Answer with the document, 304 where the caller has it, 503 where there is none yet."""
    registry, compute_id = call.api.registry, call.path["id"]
    known = entity_tags(call.headers.get("If-None-Match", ""))
    wait_s = preferred_wait(call.headers.get("Prefer", ""))
    first = registry.presence.of(compute_id).asked_at is None
    headers = {}
    if wait_s is not None:
        headers["Preference-Applied"] = f"wait={wait_s}"
    if compute_id not in registry.computes:
        raise _unknown(compute_id)
    if not known and call.api.overloaded():  # to refuse the others costs as much as to answer
        raise unavailable("too many requests are waiting")
    with registry.presence.asked(compute_id):
        record = _record(call.api, compute_id)
        if wait_s and etag(record) in known and not first:
            record = await _wait_for_change(call.api, record, wait_s)
    headers["ETag"] = etag(record)
    # Asks the daemon for reports; Neon's own ignores it.
    missing = registry.presence.of(compute_id).report is None
    headers["Compute-Reports"] = "1; missing" if missing else "1"
    if etag(record) in known:
        return ApiResponse(code=304, headers=headers)
    assert record.published is not None  # noqa: S101 -- narrows the type
    return ApiResponse(body=bytes(record.published), headers=headers)


async def _wait_for_change(api: Api, known: ComputeRecord, wait_s: int) -> ComputeRecord:
    """Return the record of the compute when another document is published, or after *wait_s*.

    Raises:
        RequestError: 503, no more can be held; 403, its token was changed meanwhile; as `_record`.
    """
    with api.polls.hold():
        await api.registry.changed(known.id, generation=known.generation, within_s=wait_s)
    record = _record(api, known.id)
    if record.token_sha256 != known.token_sha256:
        raise RequestError(403, WRONG_TOKEN)
    return record


def _record(api: Api, compute_id: str) -> ComputeRecord:
    """Return the record of a compute that has a document. Raises RequestError."""
    registry = api.registry
    record = registry.computes.get(compute_id)
    if record is None:
        raise _unknown(compute_id)
    if record.published is None:
        raise unavailable(registry.incomplete(compute_id) or "nothing is published yet")
    return record


def _unknown(compute_id: str) -> RequestError:
    return RequestError(404, f'unknown compute "{compute_id}"')
