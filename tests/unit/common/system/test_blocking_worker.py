"""Blocking work beside the loop: its end is awaited, its deadline holds whatever it does."""

import asyncio
import subprocess
import sys
import threading
import time

import pytest

from compute_common.system.blocking_worker import BlockingWorker, in_thread
from devstack.wait import wait_until


async def test_answer_comes_back() -> None:
    """What the work returns is returned."""
    assert "done" == await in_thread(lambda: "done", name="short", within_s=5)


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
        assert [True] == [thread.daemon for thread in left]
    finally:
        go.set()


async def test_busy_worker_refuses() -> None:
    """A call that hangs keeps the next one out until it ends, whether or not somebody waits."""
    worker, go_on = BlockingWorker("hangs"), threading.Event()
    with pytest.raises(TimeoutError, match=r"^$"):
        await worker.run(lambda: go_on.wait(30), within_s=0.05)
    with pytest.raises(TimeoutError, match="an earlier run has not ended yet"):
        await worker.run(lambda: None, within_s=5)
    go_on.set()
    await asyncio.to_thread(wait_until, "the worker to be idle", lambda: not worker.busy)
    assert 7 == await worker.run(lambda: 7, within_s=5)


async def test_queued_call_waits_for_its_turn() -> None:
    """It ends at its own deadline; one that never began does not run later."""
    worker, go_on, done = BlockingWorker("files"), threading.Event(), list[int]()
    hanging = worker.submit(go_on.wait, 30)
    with pytest.raises(TimeoutError):
        await worker.run(lambda: done.append(1), within_s=0.05, queue=True)
    second = asyncio.create_task(worker.run(lambda: done.append(2), within_s=5, queue=True))
    await asyncio.sleep(0)
    go_on.set()
    await second

    assert (True, [2]) == (hanging.result(5), done)


async def test_late_loop_is_no_late_work() -> None:
    """Where the loop stood still past the deadline, the result that is there counts."""
    worker = BlockingWorker("files")
    running = asyncio.create_task(worker.run(lambda: 7, within_s=0.05))
    await asyncio.sleep(0)
    time.sleep(0.1)  # noqa: ASYNC251 -- the loop that stands still

    assert 7 == await running


async def test_worker_is_idle_after_a_failure() -> None:
    """A call that fails says why, and the next one may begin at once."""
    worker = BlockingWorker("fails")
    for _ in range(100):
        with pytest.raises(ZeroDivisionError):
            await worker.run(lambda: 1 // 0, within_s=5)
        assert not worker.busy


def test_idle_thread_ends() -> None:
    """An idle worker has no thread; the next call starts one, however the two meet."""
    worker = BlockingWorker("idle", threads=2, idle_s=0.001)
    meeting = threading.Barrier(2)
    for _ in range(200):
        both = [worker.submit(meeting.wait, 5) for _ in range(2)]
        assert {0, 1} == {one.result(5) for one in both}
        time.sleep(0.001)
    wait_until("the threads to end", lambda: not worker._running)
    assert 7 == worker.submit(lambda: 7).result(5)


def test_one_thread_works_in_order() -> None:
    """What was submitted first ends first; an error is its own caller's, and does no harm."""
    executor, done = BlockingWorker("files"), list[int]()
    go = threading.Event()
    first = executor.submit(go.wait, 10)
    later = [executor.submit(done.append, number) for number in range(5)]
    failed = executor.submit(lambda: 1 // 0)
    last = executor.submit(threading.current_thread)
    go.set()

    assert True is first.result(5)
    assert (True, "files") == (last.result(5).daemon, last.result(5).name)
    assert [0, 1, 2, 3, 4] == done
    assert isinstance(failed.exception(0), ZeroDivisionError)
    assert all(one.done() for one in later)


def test_no_more_threads_than_allowed() -> None:
    """Work beyond waits for a thread; idle ones are used again."""
    executor = BlockingWorker("worker", threads=2)
    for _ in range(3):  # one after the other: the first thread serves them all, or the second
        executor.submit(int).result(5)
    meeting = threading.Barrier(2)
    both = [executor.submit(meeting.wait, 5) for _ in range(2)]
    names = {executor.submit(threading.current_thread).result(5).name for _ in range(9)}

    assert {0, 1} == {one.result(5) for one in both}
    assert names <= {"worker-0", "worker-1"}


def test_shutdown_waits_for_nothing() -> None:
    """What hangs is left, what has not begun is dropped, and nothing new is taken."""
    executor, go = BlockingWorker("files"), threading.Event()
    hanging = executor.submit(go.wait, 30)
    while not hanging.running():
        threading.Event().wait(0.001)
    dropped = executor.submit(int)
    begun = time.monotonic()

    executor.shutdown(wait=True, cancel_futures=True)

    assert time.monotonic() - begun < 5
    assert (True, False) == (dropped.cancelled(), hanging.done())
    with pytest.raises(RuntimeError, match="shut down"):
        executor.submit(int)
    go.set()


HANGING: str = """
import asyncio, threading
from compute_common.system.blocking_worker import BlockingWorker, exit_within

async def main():
    asyncio.get_running_loop().set_default_executor(BlockingWorker("worker"))
    hung = asyncio.get_running_loop().run_in_executor(None, threading.Event().wait)
    await asyncio.wait({hung}, timeout=0.1)

asyncio.run(main())
"""
BLOCKED: str = """
import threading
from compute_common.system.blocking_worker import exit_within
exit_within(0.1, lambda: 7)
threading.Event().wait()
"""


@pytest.mark.parametrize(("program", "status"), [(HANGING, 0), (BLOCKED, 7)])
def test_process_ends_whatever_hangs(program: str, status: int) -> None:
    """Neither a thread of the event loop's executor nor the main thread can hold it."""
    ended = subprocess.run([sys.executable, "-c", program], timeout=15, check=False)
    assert status == ended.returncode
