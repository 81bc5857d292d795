"""One road into force: what is written, what Postgres says of it, and what replaces it."""

import json
from pathlib import Path

import pytest

from compute_common.document.document import decode_document
from compute_ctl.decisions.model import PUSH, Outcome, RequestOrigin, StartFailure
from compute_ctl.decisions.proof import Proof, Verdict
from devstack.document import attached
from tests.unit.node.test_config_state import document
from tests.unit.reconciler.road import BAD, road


async def test_a_document_is_written_signalled_and_proven(tmp_path: Path) -> None:
    """It is applied once Postgres has proven it, and not written again."""
    async with road(tmp_path) as one:
        assert Outcome.APPLIED == await one.apply(1, "1MB")
        assert (True, True) == ("1MB" in one.live, one.node.config.proven)
        signals = one.verifier.signals

        assert Outcome.UNCHANGED == await one.apply(1, "1MB")
        assert signals == one.verifier.signals


async def test_only_what_is_in_the_file_is_in_sync(tmp_path: Path) -> None:
    """Wanted again, a document is in force when its file is back: another runs until then."""
    async with road(tmp_path) as one:
        assert Outcome.APPLIED == await one.apply(1, "1MB")
        assert one.node.snapshot().config.in_sync
        one.verifier.verdicts = [Verdict(proof=Proof.NONE)]
        assert Outcome.UNPROVEN == await one.apply(2, "2MB")
        one.node.config.desire(document(3, work_mem="1MB"), "file")
        assert not one.node.snapshot().config.in_sync


async def test_what_is_not_proven_is_not_applied(tmp_path: Path) -> None:
    """Silence is no success; the next attempt signals again."""
    async with road(tmp_path) as one:
        one.verifier.verdicts = [Verdict(proof=Proof.NONE)]

        assert Outcome.UNPROVEN == await one.apply(1, "1MB")
        assert (False, None) == (one.node.config.proven, one.node.config.state.applied)
        assert Outcome.APPLIED == await one.apply(1, "1MB")
        assert 2 == one.verifier.signals


async def test_an_older_document_changes_nothing(tmp_path: Path) -> None:
    """The floor is the version that is applied."""
    async with road(tmp_path) as one:
        await one.apply(2, "2MB")

        assert Outcome.STALE == await one.apply(1, "1MB")
        assert "2MB" in one.live


async def test_a_refused_document_is_replaced_with_the_last_good_rest(tmp_path: Path) -> None:
    """It is quarantined, and the fallback is written and proven on the same road."""
    async with road(tmp_path) as one:
        await one.apply(1, "1MB")
        one.verifier.verdicts = [BAD]

        assert Outcome.REJECTED == await one.apply(2, "2MB")
        written = one.node.config.written
        assert written is not None
        assert (True, True) == (written.is_fallback, written.proven)
        assert "1MB" in one.live
        assert ["work_mem: too small"] == [it.reason for it in one.node.config.state.quarantine]
        signals = one.verifier.signals
        assert Outcome.REJECTED == await one.apply(2, "2MB")
        assert signals == one.verifier.signals


async def test_a_refused_fallback_is_said(tmp_path: Path) -> None:
    """Neither runs: the result says so, with both reasons."""
    async with road(tmp_path) as one:
        await one.apply(1, "1MB")
        one.verifier.verdicts = [BAD, BAD]

        result = await one.applier.apply(document(2, work_mem="2MB"), source=PUSH)

        assert result.broken
        assert "work_mem: too small; the fallback too: work_mem: too small" == result.reason


async def test_without_a_good_generation_a_refused_document_stays(tmp_path: Path) -> None:
    """There is nothing to fall back to."""
    async with road(tmp_path) as one:
        one.verifier.verdicts = [BAD]

        result = await one.applier.apply(document(1, work_mem="2MB"), source=PUSH)

        assert (Outcome.REJECTED, True) == (result.outcome, result.broken)
        assert "2MB" in one.live


async def test_a_rollback_that_is_refused_returns_to_what_ran(tmp_path: Path) -> None:
    """The generation before the one applied is brought back, unless Postgres refuses it."""
    async with road(tmp_path) as one:
        await one.apply(1, "1MB")
        await one.apply(2, "2MB")
        one.verifier.verdicts = [BAD]

        result = await one.applier.roll_back(old_upstream=False)

        assert Outcome.REJECTED == result.outcome
        assert "2MB" in one.live


async def test_a_rollback_goes_back(tmp_path: Path) -> None:
    """What was applied is quarantined."""
    async with road(tmp_path) as one:
        await one.apply(1, "1MB")
        await one.apply(2, "2MB")

        result = await one.applier.roll_back(old_upstream=False)

        assert Outcome.APPLIED == result.outcome
        assert "1MB" in one.live
        assert 1 == len(one.node.config.state.quarantine)


async def test_the_servers_of_a_document_that_cannot_be_rendered(tmp_path: Path) -> None:
    """They are used only while Postgres waits for servers."""
    async with road(tmp_path) as one:
        await one.apply(1, "1MB")
        raw = attached(
            tenant="1" * 32,
            timeline="2" * 32,
            pageservers=["postgres://b/"],
            generation=2,
            settings={"not a name": "1"},
        )
        bad = decode_document(json.dumps(raw).encode())
        before = one.live

        result = await one.applier.apply(bad, source="file")
        assert (Outcome.REJECTED, before) == (result.outcome, one.live)

        one.node.request_refresh(who="postgres", source=RequestOrigin.WORKER)
        result = await one.applier.apply(bad, source="file")
        assert Outcome.REJECTED == result.outcome
        assert (True, True) == ("1MB" in one.live, "postgres://b/" in one.live)


async def test_a_server_that_does_not_start_gets_an_earlier_generation(tmp_path: Path) -> None:
    """The first one is quarantined; a failure of what was replaced since is ignored."""
    async with road(tmp_path) as one:
        await one.apply(1, "1MB")
        await one.apply(2, "2MB")
        written = one.node.config.written
        assert written is not None

        await one.start_fallback.handle(StartFailure(reason="no", marker=written.marker))
        assert "1MB" in one.live
        assert ["no"] == [it.reason for it in one.node.config.state.quarantine]

        text = one.live
        await one.start_fallback.handle(StartFailure(reason="no", marker=written.marker))
        assert text == one.live


async def test_an_edited_file_that_does_not_start_blames_no_document(tmp_path: Path) -> None:
    """It is written as it was, and the server is started with it before anything else."""
    async with road(tmp_path) as one:
        await one.apply(1, "1MB")
        await one.apply(2, "2MB")
        before, written = one.live, one.node.config.written
        assert written is not None
        one.conf.path.write_text(before.replace("2MB", "nonsense"))
        one.node.start_failed("no", written.marker)
        failure = one.node.start.take_failure()
        assert failure is not None

        await one.start_fallback.handle(failure)

        assert (before, ()) == (one.live, one.node.config.state.quarantine)
        assert one.node.start.configured.is_set()


@pytest.mark.parametrize(("source", "again"), [("file", False), (PUSH, True)])
async def test_the_same_file_is_started_again_for_a_person(
    tmp_path: Path, source: str, *, again: bool
) -> None:
    """A fetched document that makes the file that did not start changes nothing for the server."""
    async with road(tmp_path) as one:
        await one.apply(1, "1MB")
        written = one.node.config.written
        assert written is not None
        one.node.start_failed("no", written.marker)
        await one.start_fallback.handle(one.node.start.take_failure() or pytest.fail("no failure"))
        raw = json.loads(document(2, work_mem="1MB").json)
        raw["spec"]["cluster"]["roles"] = [{"name": "another"}]

        await one.applier.apply(decode_document(json.dumps(raw).encode()), source=source)

        assert again == one.node.start.configured.is_set()
