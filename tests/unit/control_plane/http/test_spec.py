"""The document of a compute: now, conditionally, and when it changes."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from control_plane.decisions.documents import etag
from control_plane.decisions.model import Report
from control_plane.http.spec import entity_tags, preferred_wait
from devstack.wait import until
from tests.unit.control_plane.http.public_door import Door, public_door


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[Door]:
    """A control plane without computes."""
    async with public_door(tmp_path) as one:
        yield one


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("", None),
        ("wait=30", 30),
        ("respond-async, wait = 30", 30),
        ('wait="5"; foo', 5),
        ("WAIT=9", 9),
        ("wait=86400", 60),
        ("wait=-1", None),
        ("wait=x", None),
        ("await=5", None),
        ("wait=0", 0),
    ],
)
def test_preferred_wait(header: str, seconds: int | None) -> None:
    """RFC 7240, bounded to a minute."""
    assert seconds == preferred_wait(header)


def test_entity_tags() -> None:
    """Weak tags count as strong ones."""
    assert {'"a"', '"b"'} == entity_tags('W/"a", "b",')


async def test_unknown(door: Door) -> None:
    """A compute that nobody has put does not exist."""
    found = await door.spec("nobody")
    assert (404, {"error": 'unknown compute "nobody"'}) == (found.code, found.body)


async def test_document(door: Door) -> None:
    """The operator's text, with what the storage controller says."""
    await door.put()
    found = await door.spec()
    record = door.parts.registry.computes["one"]
    assert (200, etag(record), "1; missing") == (
        found.code,
        found.headers["ETag"],
        found.headers["Compute-Reports"],
    )
    assert ("attached", 1) == (found.body["status"], found.body["spec"]["generation"])
    assert ["0000"] == list(found.body["spec"]["pageserver_connection_info"]["shards"])


async def test_incomplete(door: Door) -> None:
    """Where the storage is not known yet, the compute is told why, and when to come again."""
    door.controller.placements.clear()
    await door.put()
    found = await door.spec()
    assert (503, True) == (found.code, 1 <= int(found.headers["Retry-After"]) <= 5)
    assert "it is not known where tenant" in found.body["error"]


async def test_not_modified(door: Door) -> None:
    """Who has it is told so at once."""
    await door.put()
    first = await door.spec()
    found = await door.spec(If_None_Match=first.headers["ETag"])
    assert (304, "", False) == (found.code, found.body, "Preference-Applied" in found.headers)


async def test_long_poll(door: Door) -> None:
    """Who prefers to wait is held until the document changes."""
    await door.put()
    first = await door.spec()
    held = asyncio.create_task(door.spec(If_None_Match=first.headers["ETag"], Prefer="wait=30"))
    await until("the poll to be held", lambda: len(door.parts.api.polls))
    assert 1 == door.parts.registry.presence.of("one").holds
    door.locate(2)
    await door.parts.reconciler.reconcile(first.body["spec"]["tenant_id"])
    found = await held
    assert (200, "wait=30", 2) == (
        found.code,
        found.headers["Preference-Applied"],
        found.body["spec"]["generation"],
    )
    assert 0 == door.parts.registry.presence.of("one").holds


async def test_first_request_after_a_start(door: Door) -> None:
    """It is answered at once: the compute learns that its report is missing."""
    await door.put()
    tag = etag(door.parts.registry.computes["one"])
    async with asyncio.timeout(5):
        found = await door.spec(If_None_Match=tag, Prefer="wait=30")
    assert (304, "1; missing") == (found.code, found.headers["Compute-Reports"])

    door.parts.registry.presence.reported("one", Report())
    found = await door.spec(If_None_Match=tag, Prefer="wait=1")
    assert (304, "1") == (found.code, found.headers["Compute-Reports"])


async def test_long_poll_ends(door: Door) -> None:
    """It ends unchanged when the time is over."""
    await door.put()
    first = await door.spec()
    found = await door.spec(If_None_Match=first.headers["ETag"], Prefer="wait=1")
    assert (304, "wait=1") == (found.code, found.headers["Preference-Applied"])


async def test_deleted_while_held(door: Door) -> None:
    """A compute that is deleted is told so at once."""
    await door.put()
    first = await door.spec()
    held = asyncio.create_task(door.spec(If_None_Match=first.headers["ETag"], Prefer="wait=30"))
    await until("the poll to be held", lambda: len(door.parts.api.polls))
    await door.parts.registry.delete("one")
    assert 404 == (await held).code


async def test_token_changed_while_held(door: Door) -> None:
    """Who came with the old token does not get what is published with the new one."""
    await door.put()
    first = await door.spec()
    held = asyncio.create_task(door.spec(If_None_Match=first.headers["ETag"], Prefer="wait=30"))
    await until("the poll to be held", lambda: len(door.parts.api.polls))
    await door.put(token="token-of-one")
    door.locate(2)
    await door.parts.reconciler.reconcile(first.body["spec"]["tenant_id"])
    assert 403 == (await held).code


async def test_hung_up(door: Door) -> None:
    """A caller that goes away is not held any more."""
    await door.put()
    first = await door.spec()
    held = asyncio.create_task(door.spec(If_None_Match=first.headers["ETag"], Prefer="wait=30"))
    await until("the poll to be held", lambda: len(door.parts.api.polls))
    held.cancel()
    await until("the poll to end", lambda: not len(door.parts.api.polls))


async def test_too_many(tmp_path: Path) -> None:
    """Beyond the limit nobody is held, and all are told to come again."""
    async with public_door(tmp_path, max_held=1) as door:
        await door.put()
        first = await door.spec()
        ask = {"If_None_Match": first.headers["ETag"], "Prefer": "wait=30"}
        held = asyncio.create_task(door.spec(**ask))
        await until("the poll to be held", lambda: len(door.parts.api.polls))
        found = await door.spec(**ask)
        assert (503, True) == (found.code, "Retry-After" in found.headers)
        assert 200 == (await door.spec()).code
        held.cancel()


async def test_overloaded(door: Door) -> None:
    """Who has no document yet had better come later; who has one is held as usual."""
    await door.put()
    first = await door.spec()
    door.parts.api.overloaded = lambda: True
    found = await door.spec()
    assert (503, True) == (found.code, "Retry-After" in found.headers)
    assert 304 == (await door.spec(If_None_Match=first.headers["ETag"])).code


async def test_stop(door: Door) -> None:
    """When the control plane stops, held polls are answered at once."""
    await door.put()
    first = await door.spec()
    held = asyncio.create_task(door.spec(If_None_Match=first.headers["ETag"], Prefer="wait=30"))
    await until("the poll to be held", lambda: len(door.parts.api.polls))
    door.parts.api.polls.close()
    found = await held
    assert (503, {"error": "the control plane is stopping"}) == (found.code, found.body)
