"""What a check of the running server finds, and what is repaired."""

import asyncio
from math import inf
from pathlib import Path

from compute_ctl.decisions.apply_plan import ApplyResult
from compute_ctl.decisions.model import Outcome, RequestOrigin
from compute_ctl.decisions.proof import Complaint, Proof, Verdict
from tests.unit.reconciler.road import BAD, FULL, Road, road

DRIFT = (Complaint(name="work_mem", reason="overridden"),)
UNCHANGED = ApplyResult(outcome=Outcome.UNCHANGED)


async def checked(one: Road, verdict: Verdict | None) -> ApplyResult | None:
    """Make a check that finds *verdict*; return how a repair ended."""
    one.verifier.looks = [verdict]
    one.node.request_drift_check(hurry=True)
    one.node.wake.clear()
    one.drift.begin()
    async with asyncio.timeout(5):
        await one.node.wake.wait()
    assert one.drift.ended
    return await one.drift.finish()


async def test_drift_is_shown(tmp_path: Path) -> None:
    """Nothing is written for it, and it ends with a check that finds none."""
    async with road(tmp_path) as one:
        await one.apply(1, "1MB")

        assert await checked(one, Verdict(proof=Proof.NONE, shadowed=DRIFT)) is None
        assert DRIFT == (one.node.config.verdict and one.node.config.verdict.shadowed)
        assert await checked(one, Verdict(proof=Proof.FULL)) is None
        assert one.node.server.drift_since is None
        assert 1 == one.verifier.signals


async def test_silence_is_not_evidence(tmp_path: Path) -> None:
    """What was proven stays so."""
    async with road(tmp_path) as one:
        await one.apply(1, "1MB")
        for nothing in (None, Verdict(proof=Proof.UPSTREAM, blind=True)):
            assert await checked(one, nothing) is None
            assert FULL == one.node.config.verdict


async def test_a_server_with_older_values_is_reloaded_once(tmp_path: Path) -> None:
    """What one reload does not repair is only shown."""
    async with road(tmp_path) as one:
        await one.apply(1, "1MB")
        stale = Verdict(proof=Proof.NONE, shadowed=DRIFT, stale=True)

        result = await checked(one, stale)

        assert (Outcome.APPLIED, 2) == (result and result.outcome, one.verifier.signals)
        assert await checked(one, stale) is None
        assert 2 == one.verifier.signals


async def test_what_the_server_refuses_late_is_replaced(tmp_path: Path) -> None:
    """As a new document would be."""
    async with road(tmp_path) as one:
        await one.apply(1, "1MB")
        await one.apply(2, "2MB")

        result = await checked(one, BAD)

        assert Outcome.REJECTED == (result and result.outcome)
        assert "1MB" in one.live


async def test_a_check_of_an_earlier_generation_counts_for_nothing(tmp_path: Path) -> None:
    """Another one was written while it looked."""
    async with road(tmp_path) as one:
        await one.apply(1, "1MB")
        one.verifier.looks = [BAD]
        one.node.request_drift_check(hurry=True)
        one.drift.begin()
        assert inf == one.drift.next_at, "one at a time"
        await one.apply(2, "2MB")

        assert one.drift.ended
        assert await one.drift.finish() is None
        assert "2MB" in one.live


async def test_a_check_is_given_up(tmp_path: Path) -> None:
    """At the end of the daemon."""
    async with road(tmp_path) as one:
        one.node.request_drift_check(hurry=True)
        one.drift.begin()
        one.drift.drop()
        assert not one.drift.ended


async def test_an_edited_file_is_written_again_after_a_fetch(tmp_path: Path) -> None:
    """Where somebody asked; the repair is the outcome then."""
    async with road(tmp_path) as one:
        await one.apply(1, "1MB")
        before = one.live
        one.conf.path.write_text(before.replace("1MB", "9MB"))

        assert UNCHANGED == await one.drift.after_fetch(UNCHANGED, asked=False)
        result = await one.drift.after_fetch(UNCHANGED, asked=True)

        assert (Outcome.APPLIED, before) == (result.outcome, one.live)


async def test_a_heal_does_not_wait_for_a_check(tmp_path: Path) -> None:
    """While Postgres waits for servers a check is only requested."""
    async with road(tmp_path) as one:
        await one.apply(1, "1MB")
        one.node.request_refresh(who="worker", source=RequestOrigin.WORKER)
        one.verifier.looks = [BAD]

        assert UNCHANGED == await one.drift.after_fetch(UNCHANGED, asked=True)
        assert one.drift.next_at < inf
        assert [BAD] == one.verifier.looks


async def test_a_file_mended_after_a_start_may_not_have_been_read(tmp_path: Path) -> None:
    """The server may have been started with what somebody else had put there."""
    async with road(tmp_path) as one:
        await one.apply(1, "1MB")
        before = one.live
        one.conf.path.write_text(before.replace("1MB", "9MB"))
        one.node.start.begin(one.node.config.written)

        await one.drift.after_fetch(UNCHANGED, asked=True)
        await one.recovery.note_start()

        assert (before, None) == (one.live, one.node.config.state.started)


async def test_what_another_wrote_is_no_fault_of_the_document(tmp_path: Path) -> None:
    """Postgres has refused an edited file: ours is back, and judged by itself."""
    async with road(tmp_path) as one:
        await one.apply(1, "1MB")
        before = one.live
        one.conf.path.write_text(before[: len(before) // 2])

        await checked(one, BAD)

        assert (before, ()) == (one.live, one.node.config.state.quarantine)
        assert one.node.config.state.fallback is not None
