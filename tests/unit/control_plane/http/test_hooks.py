"""What the storage controller is answered, and when."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from control_plane.decisions.model import ALIVE_S
from control_plane.fleet import reconciler
from control_plane.http import hooks
from devstack.wait import until
from tests.unit.control_plane.http.public_door import (
    HOOK_TOKEN,
    TENANT,
    Door,
    public_door,
    safekeepers,
)


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[Door]:
    """A control plane that has been up for long, with two computes that run on node 1."""
    async with public_door(tmp_path) as one:
        one.parts.registry.started_at -= ALIVE_S
        for compute_id in ("one", "two"):
            await one.put(compute_id)
            await one.runs(compute_id)
        yield one


@pytest.fixture
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hooks are held for a second and a half only."""
    monkeypatch.setattr(hooks, "ANSWER_S", 1.5)
    monkeypatch.setattr(hooks, "LOCATE_S", 0.2)


def generations(door: Door) -> list[int]:
    """Of all computes."""
    return [record.generation for record in door.parts.registry.computes.values()]


def nodes(door: Door) -> list[int]:
    """The place of the tenant."""
    placement = door.parts.registry.tenants[TENANT].placement
    assert placement is not None
    return list(placement.nodes)


async def pending(door: Door) -> None:
    """Wait until a hook is held for both computes."""
    shown = door.parts.registry.pending_hooks
    await until("a hook to wait", lambda: [1 for hook in shown.values() if hook.waits_for])


async def test_all_applied(door: Door) -> None:
    """200 comes when both computes have said that they run with it, not before."""
    door.locate(2)
    answer = asyncio.create_task(door.attach(2))
    await pending(door)
    assert [2, 2] == generations(door)
    assert [("one", "two")] == [
        hook.waits_for for hook in door.parts.registry.pending_hooks.values()
    ]
    await door.runs("one")
    await until(
        "one to be enough for one",
        lambda: [("two",)] == [it.waits_for for it in door.parts.registry.pending_hooks.values()],
    )
    assert not answer.done()
    await door.runs("two")
    found = await answer
    assert (200, {"computes": ["one", "two"]}) == (found.code, found.body)
    assert {} == door.parts.registry.pending_hooks


@pytest.mark.usefixtures("patience")
async def test_laggard(door: Door) -> None:
    """423 names who does not run with it, and why."""
    door.locate(2)
    answer = asyncio.create_task(door.attach(2))
    await pending(door)
    await door.runs("two")
    found = await answer
    assert (423, ["one"]) == (found.code, [one["compute_id"] for one in found.body["laggards"]])
    assert found.body["error"].startswith("stored, not applied by one: ")
    assert [2, 2] == generations(door)


async def test_a_refusal_ends_the_wait(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    """423 at once: nothing changes before there is another generation; not for an earlier one."""
    monkeypatch.setattr(hooks, "ANSWER_S", 600.0)
    door.locate(2)
    answer = asyncio.create_task(door.attach(2))
    await pending(door)
    record = door.parts.registry.computes["one"]
    for number in (record.generation - 1, record.generation):
        assert not answer.done()
        wanted = {"generation": number, "hash": record.content_sha256}
        await door.report("one", outcome="rejected", reason="no such setting", desired=wanted)
    await asyncio.wait({answer}, timeout=30)
    assert "refuses generation 2: no such setting" in answer.result().body["error"]


@pytest.mark.usefixtures("patience")
async def test_true_when_it_is_sent(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    """What becomes false while the history is written is not answered."""
    written: list[str] = []

    async def record(_api: object, text: str, _tenant: str) -> None:
        written.append(text)
        await door.report("one", applied={"generation": 0, "hash": "", "proof": "full"})

    monkeypatch.setattr(hooks, "_record", record)
    assert 423 == (await door.attach(1)).code
    assert "notify-attach answered 200" == written[0]


async def test_dead_compute(door: Door) -> None:
    """A compute that was not heard of for a minute blocks nobody."""
    heard = door.parts.registry.presence.heard
    for compute_id in list(heard):
        heard[compute_id] = type(heard[compute_id])()
    door.locate(2)
    assert 200 == (await door.attach(2)).code


@pytest.mark.usefixtures("patience")
async def test_not_blind_after_a_restart(tmp_path: Path) -> None:
    """Just after the start, a compute not heard of may be alive."""
    async with public_door(tmp_path) as door:
        await door.put()
        found = await door.attach(1)
        assert (423, ["one"]) == (found.code, [one["compute_id"] for one in found.body["laggards"]])


async def test_locate_wins(door: Door) -> None:
    """A late notification changes nothing where the storage controller says otherwise."""
    assert 200 == (await door.attach(3)).code
    assert [1, 1] == generations(door)


@pytest.mark.usefixtures("patience")
async def test_controller_is_silent(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    """The notification itself counts until the storage controller can be asked: soon."""
    monkeypatch.setattr(reconciler, "INTERVAL_S", 3600.0)
    door.locate(3)
    following = asyncio.create_task(door.parts.reconciler.run())
    await until("the first round", lambda: nodes(door) == [3])
    door.controller.silent = True
    assert 423 == (await door.attach(2)).code
    assert [2] == nodes(door)

    door.controller.silent = False
    await until("the storage controller to be asked again", lambda: nodes(door) == [3])
    following.cancel()


@pytest.mark.usefixtures("patience")
async def test_unknown_node(door: Door) -> None:
    """Nobody runs with a move for which there is no document yet."""
    door.locate(9)
    found = await door.attach(9)
    names = [one["compute_id"] for one in found.body["laggards"]]
    assert (423, ["one", "two"]) == (found.code, names)
    assert "node 9 is not in the storage controller's list" in found.body["error"]
    assert [1, 1] == generations(door)


@pytest.mark.usefixtures("patience")
async def test_refusal_of_what_is_not_the_present_state(door: Door) -> None:
    """It does not end the wait: the document of the present state is still to come."""
    record = door.parts.registry.computes["one"]
    wanted = {"generation": record.generation, "hash": record.content_sha256}
    await door.report("one", outcome="rejected", reason="no such setting", desired=wanted)
    door.locate(9)
    answer = asyncio.create_task(door.attach(9))
    await pending(door)
    found = await answer
    assert [423, "one: has no document", "two: has no document"] == [
        found.code,
        *(f"{it['compute_id']}: {it['reason'][:15]}" for it in found.body["laggards"]),
    ]


async def test_store_fails(door: Door) -> None:
    """What could not be stored is 503 with a time to come again, and follows by itself."""
    door.locate(3)
    following = asyncio.create_task(door.parts.reconciler.run())
    await until("the first round", lambda: generations(door) == [2, 2])
    door.locate(2)
    door.store.failure = "disk full"
    found = await door.attach(2)
    assert (503, True) == (found.code, "Retry-After" in found.headers)
    assert "not stored: disk full" in found.body["error"]
    assert [2, 2] == generations(door)

    door.store.failure = ""
    await until("the move", lambda: generations(door) == [3, 3])
    following.cancel()


async def test_hung_up(door: Door) -> None:
    """A caller that goes away is not waited for."""
    door.locate(2)
    answer = asyncio.create_task(door.attach(2))
    await pending(door)
    answer.cancel()
    await until("the hook to end", lambda: not door.parts.registry.pending_hooks)


async def test_stop(door: Door) -> None:
    """When the control plane stops, hooks are answered at once; they were stored."""
    door.locate(2)
    answer = asyncio.create_task(door.attach(2))
    await pending(door)
    door.parts.api.hooks.close()
    assert 503 == (await answer).code


async def test_repeated(door: Door) -> None:
    """The history tells it once: a flood of hooks pushes nothing else out of it."""
    for _ in range(3):
        answers = await asyncio.gather(*(door.attach(1) for _ in range(5)))
        assert [200] * 5 == [one.code for one in answers]
    kinds = [event.kind for event in door.parts.registry.history if event.tenant_id == TENANT]
    assert ["moved", "hook"] == kinds


@pytest.mark.usefixtures("patience")
async def test_long_reason(door: Door) -> None:
    """What a compute says is cut in answer and history."""
    door.locate(2)
    answer = asyncio.create_task(door.attach(2))
    await pending(door)
    await door.runs("two")
    desired = {"hash": door.parts.registry.computes["one"].content_sha256}
    await door.report("one", desired=desired, outcome="rejected", reason="x" * 5000)
    found = await answer
    assert 423 == found.code
    assert len(found.body["error"]) < 2 * hooks.MAX_REASON
    assert len(door.parts.registry.history[-1].text) < 2 * hooks.MAX_RECORD


async def test_unknown_tenant(door: Door) -> None:
    """A tenant without computes is none of ours."""
    assert 404 == (await door.attach(1, tenant="0" * 32)).code


async def test_safekeepers(door: Door) -> None:
    """Newer ones are published, older and equal ones change nothing, others are 409."""

    async def tell(generation: int, *ids: int) -> int:
        body = safekeepers(generation, *ids)
        known = generations(door)
        answer = asyncio.create_task(door.ask("PUT", "/notify-safekeepers", body, token=HOOK_TOKEN))
        await until("answer or change", lambda: answer.done() or generations(door) != known)
        if generations(door) != known:
            for compute_id in ("one", "two"):
                await door.runs(compute_id)
        return (await answer).code

    assert (200, [2, 2]) == (await tell(3, 1, 2), generations(door))
    assert (200, [2, 2]) == (await tell(2, 7, 8), generations(door))
    assert (200, [2, 2]) == (await tell(3, 1, 2), generations(door))
    assert (409, [2, 2]) == (await tell(3, 1, 9), generations(door))
    assert (200, [3, 3]) == (await tell(4, 1, 9), generations(door))
