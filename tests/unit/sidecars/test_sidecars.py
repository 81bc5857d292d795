"""When the programs beside Postgres are configured, in virtual time."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress

import pytest

from compute_common.errors import ComputeError
from compute_ctl.decisions.sidecar import SidecarOutcome, SidecarState
from compute_ctl.sidecars import Sidecars, sidecars
from compute_ctl.sidecars.wanted import Wanted
from devstack.virtual_loop import VirtualLoop
from tests.support.clock import DATE
from tests.unit.monitoring.test_observers import ATTEMPT


class Program:
    """One that does what it is told."""

    def __init__(self, name: str, *answers: bool | Exception) -> None:
        self.name = name
        self.calls = 0
        self._answers = list(answers)

    def names(self, wanted: Wanted) -> bool:
        """All documents name it."""
        return True

    def apply(self, wanted: Wanted) -> bool:
        """Answer the next, the last again and again."""
        self.calls += 1
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


def run(
    *programs: Program,
    seconds: float = 1.0,
    wanted: Callable[[], Wanted | None] = Wanted,
    attempt: bool = False,
) -> list[SidecarState]:
    """Run them so long; return what was shown."""
    loop = VirtualLoop()
    shown: list[SidecarState] = []
    sidecars = Sidecars(programs, wanted=wanted, on_state=shown.append, wall=lambda: DATE)
    if attempt:
        loop.call_later(seconds / 2, sidecars.on_attempt, ATTEMPT)

    async def bounded() -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await sidecars.run()

    loop.run_until_complete(bounded())
    loop.close()
    return shown


@pytest.mark.parametrize(
    ("answer", "outcome", "error"),
    [
        (True, SidecarOutcome.APPLIED, None),
        (False, SidecarOutcome.ABSENT, None),
        (OSError(13, "no"), SidecarOutcome.FAILED, "[Errno 13] no"),
        (ComputeError("refused"), SidecarOutcome.FAILED, "refused"),
    ],
)
def test_how_it_ended_is_shown_once(
    answer: bool | Exception, outcome: SidecarOutcome, error: str | None
) -> None:
    """It is looked at every minute; one that fails does not keep the others."""
    one, other = Program("one", answer), Program("other", True)
    shown = run(one, other, seconds=130)
    assert (3, 3) == (one.calls, other.calls)
    expected = SidecarState(name="one", outcome=outcome, error=error, at=DATE)
    assert [expected] == [it for it in shown if it.name == "one"]


def test_not_before_postgres_runs_with_the_document() -> None:
    """A heal comes first."""
    one = Program("one", True)
    assert [] == run(one, seconds=200, wanted=lambda: None)
    assert 0 == one.calls


def test_after_each_attempt() -> None:
    """There may be another document; what failed then is applied."""
    one = Program("one", ComputeError("refused"), True)
    shown = run(one, attempt=True)
    assert [SidecarOutcome.FAILED, SidecarOutcome.APPLIED] == [it.outcome for it in shown]


async def test_one_that_hangs_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """Costs the others nothing, however often it is tried."""
    monkeypatch.setattr(sidecars, "APPLY_S", 0.05)
    released, enough = threading.Event(), asyncio.Event()
    hung, other = Program("hung", True), Program("other", True)
    monkeypatch.setattr(hung, "apply", lambda _: released.wait(60))
    loop, shown = asyncio.get_running_loop(), list[SidecarState]()

    def apply(_: Wanted) -> bool:
        other.calls += 1
        if other.calls == 5:
            loop.call_soon_threadsafe(enough.set)
        return True

    monkeypatch.setattr(other, "apply", apply)
    keeper = Sidecars(
        (hung, other), wanted=Wanted, on_state=shown.append, wall=lambda: DATE, look_s=0.01
    )
    task = asyncio.create_task(keeper.run())
    try:
        async with asyncio.timeout(30):
            await enough.wait()
    finally:
        released.set()
        task.cancel()
    assert [SidecarOutcome.APPLIED] == [it.outcome for it in shown if it.name == "other"]
    assert SidecarOutcome.FAILED in [it.outcome for it in shown if it.name == "hung"]
