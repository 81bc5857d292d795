"""The admin API: what operators read and change, as the command line uses it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import msgspec

from compute_common.errors import RequestError, SettingsError
from compute_common.http.addresses import base_urls
from compute_common.http.api import ApiResponse, json_response
from compute_common.http.bearer import is_token
from control_plane.decisions import compute_view as one
from control_plane.decisions import fleet_views
from control_plane.decisions.differences import difference
from control_plane.decisions.fleet import Condition
from control_plane.decisions.model import ComputeRecord
from control_plane.errors import StoreError
from control_plane.fleet.publisher import Given, PutResult
from control_plane.http.api import Api, ApiCall
from control_plane.http.bodies import TOKEN_HEADER, ChangeBody, ReconcileBody
from control_plane.http.holds import unavailable

NO_LOGIN: Final = "The control plane logs in with a token that it signs."
LOCATE_S: Final = 2.0
"""For the storage controller to say where the tenant of a new document is."""
REMOVABLE: Final = frozenset({"push_url", "token"})
"""Values of the parameter `remove`."""
DEFAULT_LIMIT: Final = 100
MAX_LIMIT: Final = 10_000


async def status(call: ApiCall) -> ApiResponse:
    """Return the numbers of the fleet."""
    view = fleet_views.status_view(call.api.overviews.fresh(), call.api.service)
    return json_response(view)


async def computes(call: ApiCall) -> ApiResponse:
    """Return the computes that are searched for."""
    found = call.api.overviews.fresh().search(
        call.query.get("q", ""), condition(call), first=limit(call)
    )
    return json_response(found)


async def compute(call: ApiCall) -> ApiResponse:
    """Return everything that is known of a compute."""
    record = known(call)
    return json_response(one.compute_view(call.api.overviews.fresh(), record.id))


async def document(call: ApiCall) -> ApiResponse:
    """Return the operator's text of a compute as it was put, secrets included."""
    return ApiResponse(body=bytes(known(call).document) + b"\n")


async def put(call: ApiCall) -> ApiResponse:
    """Take a compute's document."""
    api, compute_id, dry_run = call.api, call.path["id"], flag(call, "dry_run")
    with storing():
        result = await api.registry.put(compute_id, call.body, given=given(call), dry_run=dry_run)
        if not dry_run:
            await locate(api, result.record)
    return json_response(change(api, result, dry_run=dry_run))


async def patch_settings(call: ApiCall) -> ApiResponse:
    """Set and remove settings in a compute's document."""
    api, compute_id, dry_run = call.api, call.path["id"], flag(call, "dry_run")
    values = settings(call.body)
    if not flag(call, "create"):
        known(call, hint="With --create (create=true) a new compute is made.")
    with storing():
        result = await api.registry.set_settings(
            compute_id, values, given=given(call), dry_run=dry_run
        )
    return json_response(change(api, result, dry_run=dry_run))


async def delete(call: ApiCall) -> ApiResponse:
    """Forget a compute."""
    record, dry_run = known(call), flag(call, "dry_run")
    if not dry_run:
        with storing():
            await call.api.registry.delete(record.id)
    published = bytes(record.published) if record.published else None
    return json_response(
        ChangeBody(
            id=record.id,
            changed=True,
            dry_run=dry_run,
            generation=0,
            differences=difference(published, None),
        )
    )


async def nodes(call: ApiCall) -> ApiResponse:
    """Return the nodes and what is said of them."""
    return json_response(fleet_views.nodes_view(call.api.overviews.fresh()))


async def verdicts(call: ApiCall) -> ApiResponse:
    """Return the last verdicts."""
    return json_response(fleet_views.verdicts_view(call.api.overviews.fresh(), first=limit(call)))


async def history(call: ApiCall) -> ApiResponse:
    """Return the last events."""
    node = call.query.get("node")
    view = fleet_views.history_view(
        call.api.overviews.fresh(),
        compute_id=call.query.get("compute"),
        tenant_id=call.query.get("tenant"),
        node_id=None if node is None else number(node, "node"),
        first=limit(call),
    )
    return json_response(view)


async def reconcile(call: ApiCall) -> ApiResponse:
    """Compare all documents with the storage controller now."""
    api = call.api
    if not api.settings.managed:
        raise RequestError(
            409,
            "there is no storage controller to compare with",
            hint="Start the control plane with --storage-controller.",
        )
    before = {name: record.generation for name, record in api.registry.computes.items()}
    with storing():
        await api.reconciler.reconcile_all()
    after = api.registry.computes
    changed = sum(after[name].generation != old for name, old in before.items() if name in after)
    return json_response(
        ReconcileBody(computes_changed=changed, failure=api.reconciler.controller_failure)
    )


def known(call: ApiCall, *, hint: str | None = None) -> ComputeRecord:
    """Return the compute that the path names. Raises RequestError 404."""
    compute_id = call.path["id"]
    record = call.api.registry.computes.get(compute_id)
    if record is None:
        raise RequestError(404, f'unknown compute "{compute_id}"', hint=hint)
    return record


def change(api: Api, result: PutResult, *, dry_run: bool) -> ChangeBody:
    """Return what a change did."""
    record = result.record if dry_run else api.registry.computes.get(result.record.id)
    record = record or result.record  # deleted meanwhile
    missing = "" if record.published else "the place of its storage is not known yet"
    return ChangeBody(
        id=record.id,
        changed=result.changed,
        dry_run=dry_run,
        generation=record.generation,
        differences=result.differences,
        warnings=result.warnings,
        incomplete=missing if dry_run else api.registry.incomplete(record.id),
    )


async def locate(api: Api, record: ComputeRecord) -> None:
    """Ask where the tenant of a compute is that has no document yet. Raises StoreError."""
    if record.tenant_id is None or not api.registry.incomplete(record.id):
        return
    if not await api.reconciler.reconcile(record.tenant_id, within_s=LOCATE_S):
        api.reconciler.request(record.tenant_id)


@contextmanager
def storing() -> Iterator[None]:
    """Answer 503 where the store fails."""
    try:
        yield
    except StoreError as error:
        raise unavailable(f"not stored: {error}") from error


def given(call: ApiCall) -> Given:
    """Return what is given along with a document. Raises RequestError 400."""
    push_url = pushed_to(call.query.get("push_url", ""))
    token = own_token(call.headers.get(TOKEN_HEADER, ""))
    removed = set(filter(None, call.query.get("remove", "").split(",")))
    if unknown := removed - REMOVABLE:
        raise RequestError(400, f'parameter "remove" cannot be "{min(unknown)[:40]}"')
    for name, value in (("push_url", push_url), ("token", token)):
        if name in removed and value is not None:
            raise RequestError(400, f'"{name}" is given and to be removed')
    return Given(
        push_url="" if "push_url" in removed else push_url,
        token="" if "token" in removed else token,
    )


def pushed_to(text: str) -> str | None:
    """Return the base URL of a daemon, None for ''. Raises RequestError 400."""
    if not text:
        return None
    try:
        (url,) = base_urls(
            text, service="push_url", example="http://10.0.0.5:3080", login_hint=NO_LOGIN
        )
    except ValueError:
        raise RequestError(400, 'parameter "push_url" must be one address') from None
    except SettingsError as error:
        raise RequestError(400, str(error), hint=error.hint) from error
    return url


def own_token(text: str) -> str | None:
    """Return the token of one compute, None for ''. Raises RequestError 400."""
    if text and not is_token(text):
        raise RequestError(
            400, f"{TOKEN_HEADER}: this is not a token", hint="Letters, digits and -._~+/= only."
        )
    return text or None


def settings(body: bytes) -> dict[str, str | None]:
    """Decode the names and values of settings; null removes one. Raises RequestError."""
    try:
        return msgspec.json.decode(body, type=dict[str, str | None])
    except msgspec.ValidationError as error:
        raise RequestError(
            422, f"settings are an object of texts, or null to remove one: {error}"
        ) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RequestError(400, f"the request body is not JSON: {error}") from error


def condition(call: ApiCall) -> Condition | None:
    """Return the condition that is asked for. Raises RequestError 400."""
    text = call.query.get("condition")
    if not text:
        return None
    try:
        return Condition(text)
    except ValueError:
        every = ", ".join(Condition)
        raise RequestError(400, f'unknown condition "{text}"', hint=f"One of {every}.") from None


def limit(call: ApiCall) -> int:
    """Return how many rows are asked for. Raises RequestError 400."""
    text = call.query.get("limit")
    found = DEFAULT_LIMIT if text is None else number(text, "limit")
    if not 1 <= found <= MAX_LIMIT:
        raise RequestError(400, f'parameter "limit" must be from 1 to {MAX_LIMIT}, not {found}')
    return found


def number(text: str, name: str) -> int:
    """Return a whole number of the query. Raises RequestError 400."""
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise RequestError(400, f'parameter "{name}" must be a whole number, not "{text[:40]}"')
    return int(text)


def flag(call: ApiCall, name: str) -> bool:
    """Return a boolean of the query. Raises RequestError 400."""
    value = call.query.get(name, "false").lower()
    if value in ("", "1", "true", "yes", "on"):
        return True
    if value in ("0", "false", "no", "off"):
        return False
    raise RequestError(400, f'parameter "{name}" must be true or false, not "{value[:40]}"')
