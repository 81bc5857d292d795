"""Blocking work beside the loop: its end is awaited, its deadline holds whatever it does."""

import asyncio
import threading
import time

import pytest

from compute_ctl.system.daemon_thread import Room, in_thread
from devstack.wait import wait_until


async def test_answer_comes_back() -> None:
    """What the work returns is returned."""
    assert await in_thread(lambda: "done", name="short", within_s=5) == "done"


async def test_error_comes_back() -> None:
    """What the work raises is raised."""

    def fail() -> None:
        raise OSError("no such luck")

    with pytest.raises(OSError, match="no such luck"):
        await in_thread(fail, name="failing", within_s=5)


async def test_deadline_holds_whatever_the_work_does() -> None:
    """Work that never looks at a clock is left behind in time, and the loop goes on meanwhile."""
    go = threading.Event()
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0)
            ticks += 1

    ticking = asyncio.create_task(tick())
    begun = time.monotonic()
    try:
        with pytest.raises(TimeoutError):
            await in_thread(lambda: go.wait(30), name="stuck", within_s=0.05)
        assert time.monotonic() - begun < 5
        assert ticks > 1
    finally:
        go.set()
        ticking.cancel()


async def test_nobody_waits_for_a_thread_left_behind() -> None:
    """A thread that hangs does not keep the process from ending."""
    go = threading.Event()
    try:
        with pytest.raises(TimeoutError):
            await in_thread(lambda: go.wait(30), name="left behind", within_s=0.01)
        left = [thread for thread in threading.enumerate() if thread.name == "left behind"]
        assert [thread.daemon for thread in left] == [True]
    finally:
        go.set()


async def test_room_is_for_one() -> None:
    """What hangs keeps the next piece out until it ends, whether or not somebody waits for it."""
    room, go_on = Room(), threading.Event()
    with pytest.raises(TimeoutError, match=r"^$"):
        await room.run(lambda: go_on.wait(30), name="hangs", within_s=0.05)
    with pytest.raises(TimeoutError, match="an earlier run has not ended yet"):
        await room.run(lambda: None, name="next", within_s=5)
    go_on.set()
    await asyncio.to_thread(wait_until, "the room to be free", lambda: room.free)
    assert 7 == await room.run(lambda: 7, name="next", within_s=5)


async def test_room_is_free_after_a_failure() -> None:
    """Work that fails says why, and leaves."""
    room = Room()
    with pytest.raises(ZeroDivisionError):
        await room.run(lambda: 1 // 0, name="fails", within_s=5)
    assert room.free
