"""Pushes: daemons that do not poll are told, again until they take it."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

import pytest

from control_plane.decisions.model import Placement, PlacementSource
from control_plane.errors import PushError
from control_plane.fleet import pushes as pushing
from control_plane.fleet.publisher import Given
from control_plane.fleet.pushes import Pushes
from devstack.wait import until
from tests.unit.control_plane.fleet.parts import FakePusher, Fleet, document
from tests.unit.control_plane.records import TENANT

URL = "http://compute:3080"


@asynccontextmanager
async def pushed(fleet: Fleet, pusher: FakePusher) -> AsyncGenerator[None, None]:
    """Push while the block runs."""
    running = asyncio.create_task(
        Pushes(registry=fleet.registry, pusher=pusher, jitter=lambda: 0.0).run()
    )
    try:
        yield
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


async def test_each_generation_is_pushed_once() -> None:
    """And only to daemons that do not poll."""
    fleet = await Fleet().with_compute("polls")
    await fleet.registry.put("a", document(), given=Given(push_url=URL))
    pusher = FakePusher()
    pusher.ready.set()
    async with pushed(fleet, pusher):
        await until("the first", lambda: pusher.taken == [(URL, 1)])
        await fleet.registry.place(TENANT, Placement(nodes=(2,)), PlacementSource.LOCATE)
        await until("the move", lambda: pusher.taken == [(URL, 1), (URL, 2)])
    assert 2 == fleet.registry.presence.of("a").pushed_generation
    assert fleet.registry.presence.of("a").reachable_at is not None


@pytest.mark.parametrize(("code", "reached"), [(412, True), (None, False)])
async def test_a_refusal_is_shown_and_pushed_again(
    monkeypatch: pytest.MonkeyPatch, code: int | None, reached: bool
) -> None:
    """An answer, even a refusal, says that the daemon lives."""
    monkeypatch.setattr(pushing, "RETRY_MIN_S", 0.0)
    fleet = await Fleet().with_compute("polls")
    await fleet.registry.put("a", document(), given=Given(push_url=URL))
    pusher = FakePusher(failures=[PushError("not now", code=code)])
    async with pushed(fleet, pusher):
        await until("the refusal", lambda: fleet.registry.presence.of("a").push_error)
        assert "not now" == fleet.registry.presence.of("a").push_error
        assert reached == (fleet.registry.presence.of("a").reachable_at is not None)
        pusher.ready.set()
        await until("the second try", lambda: pusher.taken == [(URL, 1)])
    assert "" == fleet.registry.presence.of("a").push_error
