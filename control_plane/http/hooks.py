"""`PUT /notify-attach` and `PUT /notify-safekeepers`: what the storage controller tells.

A notification is a hint: the storage controller is asked where the tenant is, and its answer counts
more. The hook is answered 200 only when every compute of the tenant that is alive runs with what
was published; until then it is held, but not as long as the caller waits, and only until one of
them has refused it.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from compute_common.errors import RequestError
from compute_common.http.api import ApiResponse, json_response
from compute_common.text import printable
from control_plane.decisions import hooks
from control_plane.decisions.fleet import has_moved, has_refused
from control_plane.decisions.model import (
    ComputeRecord,
    Heard,
    PendingHook,
    PlacementSource,
)
from control_plane.errors import StoreError
from control_plane.http.api import Api, ApiCall
from control_plane.http.holds import unavailable

logger = logging.getLogger(__name__)

ANSWER_S: Final = 8.0
"""The storage controller gives up after 10 s."""
LOCATE_S: Final = 0.5
"""For the storage controller to say where the tenant is; else its notification counts."""
LOOK_S: Final = 0.5
"""Between two looks at most: a compute that stops being alive causes no event."""
REST: Final = 10
"""Times the duration of a look is rested after it, so that thousands of reports cost little."""
REST_S: Final = 0.2
"""But no longer than this."""
MAX_REASON: Final = 200
"""Characters of what a compute says, in an answer."""
MAX_RECORD: Final = 1000
"""Characters of an event."""
_numbers: Final = itertools.count()

Computes = Callable[[], list[ComputeRecord]]
"""Returns the computes that a hook is about."""


class LaggardBody(Struct, frozen=True, kw_only=True):
    """A compute that does not run with what was published."""

    compute_id: str
    reason: str


class HookBody(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The answer to a hook that was stored."""

    computes: tuple[str, ...]
    """All computes of the tenant."""
    error: str = ""
    laggards: tuple[LaggardBody, ...] = ()


async def notify_attach(call: ApiCall) -> ApiResponse:
    """Take a tenant's new place."""
    api = call.api
    tenant_id, placement = hooks.decode_attach(call.body)

    async def store() -> None:
        if not await api.reconciler.reconcile(tenant_id, within_s=LOCATE_S):
            await api.reconciler.place(tenant_id, placement, PlacementSource.NOTIFICATION)
            api.reconciler.request(tenant_id)

    def computes() -> list[ComputeRecord]:
        return api.registry.computes_of(tenant_id)

    return await _answer(api, "notify-attach", tenant_id, store, computes)


async def notify_safekeepers(call: ApiCall) -> ApiResponse:
    """Take a timeline's new safekeepers, unless they are older than those known."""
    api = call.api
    tenant_id, timeline_id, safekeepers = hooks.decode_safekeepers(call.body)

    async def store() -> None:
        await api.reconciler.place_safekeepers(tenant_id, timeline_id, safekeepers)

    def computes() -> list[ComputeRecord]:
        found = api.registry.computes_of(tenant_id)
        return [record for record in found if record.timeline_id == timeline_id]

    return await _answer(api, "notify-safekeepers", tenant_id, store, computes)


async def _answer(
    api: Api, kind: str, tenant_id: str, store: Callable[[], Awaitable[None]], computes: Computes
) -> ApiResponse:
    """Store, then answer when every compute alive runs with it, `ANSWER_S` from now at the latest.

    Raises:
        RequestError: 404, there is no such compute; 409; 503, it could not be stored.
    """
    until = api.clock.monotonic() + ANSWER_S
    if not computes():
        raise RequestError(404, f"no compute of tenant {tenant_id} is known for {kind}")
    with api.hooks.hold(), _pending(api, kind, tenant_id) as number:
        try:
            async with asyncio.timeout(ANSWER_S):
                await store()
        except (StoreError, TimeoutError) as error:
            api.reconciler.request(tenant_id)  # the caller may not come again
            reason = str(error) or f"no answer within {ANSWER_S:g} s"
            logger.error("%s of tenant %s was not stored: %s", kind, tenant_id, reason)
            raise unavailable(f"not stored: {reason}") from error
        while True:
            answer = await _applied(api, number, tenant_id, computes, until)
            body = _body(answer, computes())
            text = f"{kind} answered {answer.code}"
            await _record(api, f"{text}: {body.error}" if body.error else text, tenant_id)
            # To write the history takes time, in which a compute may have been added or woken up.
            if answer.code == _look(api, computes, until).code:
                return json_response(body, answer.code)


async def _applied(
    api: Api, number: int, tenant_id: str, computes: Computes, until: float
) -> hooks.HookAnswer:
    """Wait until the answer is final, or until the time *until*; return it."""
    clock, registry, presence = api.clock.monotonic, api.registry, api.registry.presence
    while True:
        now = clock()
        answer = _look(api, computes, until)
        if answer.final or now >= until:
            return answer
        names = tuple(one.compute_id for one in answer.laggards)
        registry.pending_hooks[number] = replace(registry.pending_hooks[number], waits_for=names)
        took = clock() - now
        await presence.tenant_heard(tenant_id, within_s=min(LOOK_S, until - now))
        await asyncio.sleep(min(REST * took, REST_S))


def _look(api: Api, computes: Computes, until: float) -> hooks.HookAnswer:
    """Return the answer as of now."""
    now, registry = api.clock.monotonic(), api.registry
    found = [(record, registry.presence.of(record.id)) for record in computes()]
    incomplete = _incomplete(api, found, last=now >= until)
    return hooks.answer(found, now=now, blind_until=registry.blind_until, incomplete=incomplete)


def _incomplete(
    api: Api, found: list[tuple[ComputeRecord, Heard]], *, last: bool
) -> dict[str, str]:
    """Return why there is no document of the present state, by compute.

    To compose one costs, so only those are looked at that would not hold up the answer otherwise,
    or end it by their refusal; at the *last* look all, for the reason.
    """
    asked = [
        record.id
        for record, heard in found
        if last or has_moved(record, heard) or has_refused(record, heard)
    ]
    reasons = {compute_id: api.registry.incomplete(compute_id) for compute_id in asked}
    return {compute_id: why for compute_id, why in reasons.items() if why}


@contextmanager
def _pending(api: Api, kind: str, tenant_id: str) -> Iterator[int]:
    """Show the hook among those pending; yield its number."""
    number, shown = next(_numbers), api.registry.pending_hooks
    shown[number] = PendingHook(kind=kind, tenant_id=tenant_id, since=api.clock.monotonic())
    try:
        yield number
    finally:
        del shown[number]


def _body(answer: hooks.HookAnswer, computes: list[ComputeRecord]) -> HookBody:
    laggards = tuple(
        LaggardBody(compute_id=one.compute_id, reason=printable(one.reason, MAX_REASON))
        for one in answer.laggards
    )
    error = "; ".join(f"{one.compute_id}: {one.reason}" for one in laggards)
    return HookBody(
        computes=tuple(record.id for record in computes),
        error=f"stored, not applied by {error}" if error else "",
        laggards=laggards,
    )


async def _record(api: Api, text: str, tenant_id: str) -> None:
    """Write *text* to the history, unless it is there; a failure does not change the answer."""
    text = printable(text, MAX_RECORD)
    try:
        async with asyncio.timeout(LOCATE_S):
            await api.registry.events.record_news("hook", text, tenant_id=tenant_id)
    except StoreError as error:
        logger.warning("a hook is missing in the history: %s", error)
    except TimeoutError:
        logger.debug("a slow store: a hook comes late into the history")
