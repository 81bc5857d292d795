"""What a daemon takes over from the one before it."""

import json
import shutil
from pathlib import Path

import pytest

from compute_common.document.document import Document, decode_document
from compute_ctl.decisions.model import PUSH, Outcome
from compute_ctl.decisions.persistent_state import StartAction
from compute_ctl.decisions.proof import Proof, Verdict
from compute_ctl.node.config_state import DISK
from devstack.document import attached
from tests.unit.reconciler.road import BAD, Road, road

SILENCE = Verdict(proof=Proof.NONE)


async def restored(folder: Path, *, running: bool = True) -> tuple[Road, StartAction]:
    """Start one more daemon; return its parts and what it does first."""
    async with road(folder) as one:
        one.verifier.postgres_exists = running
        action = await one.recovery.restore()
        return one, action


async def test_a_first_daemon_waits_for_a_document(tmp_path: Path) -> None:
    """There is nothing to take over."""
    one, action = await restored(tmp_path)

    assert StartAction.BEGIN == action
    assert (True, None, 0) == (one.node.restored, one.node.config.written, one.verifier.signals)


async def test_what_was_applied_is_adopted(tmp_path: Path) -> None:
    """Neither written nor signalled again; the rest of the sessions is known, too."""
    async with road(tmp_path) as earlier:
        await earlier.apply(1, "1MB")
        before = earlier.live

    one, action = await restored(tmp_path)

    config = one.node.config
    assert (StartAction.ADOPT, before, 0) == (action, one.live, one.verifier.signals)
    assert config.written is not None
    assert config.written.rest == config.sessions_rest
    assert config.desired is not None
    assert ("1", DISK) == (str(config.desired.version), config.desired.source)


async def test_what_was_not_proven_is_signalled_again(tmp_path: Path) -> None:
    """The earlier daemon may have died before its signal; what has changed is still known."""
    async with road(tmp_path) as earlier:
        await earlier.apply(1, "1MB")
        earlier.verifier.verdicts = [SILENCE]
        assert Outcome.UNPROVEN == await earlier.apply(2, "2MB")

    one, action = await restored(tmp_path)

    assert (StartAction.VERIFY, 1) == (action, one.verifier.signals)
    written = one.node.config.written
    assert written is not None
    assert (frozenset({"work_mem"}), False) == (written.changed, written.proven)


async def test_an_edited_file_is_written_again(tmp_path: Path) -> None:
    """A running server gets what it ran last."""
    async with road(tmp_path) as earlier:
        await earlier.apply(1, "1MB")
        before = earlier.live
        earlier.conf.path.write_text(before.replace("1MB", "9MB"))

    one, action = await restored(tmp_path)

    assert (StartAction.REWRITE, before, 1) == (action, one.live, one.verifier.signals)


async def test_a_server_that_is_yet_to_start_gets_a_good_generation(tmp_path: Path) -> None:
    """One that is only applied, perhaps without a session that has run with it, may not start."""
    async with road(tmp_path) as earlier:
        await earlier.apply(1, "1MB")
        earlier.verifier.verdicts = [Verdict(proof=Proof.UPSTREAM)]
        assert Outcome.APPLIED == await earlier.apply(2, "2MB")
        earlier.conf.path.unlink()
    for running, expected in ((False, "1MB"), (True, "2MB")):
        one, action = await restored(tmp_path, running=running)

        assert (StartAction.REWRITE, True) == (action, expected in one.live)
        one.conf.path.unlink()


async def test_a_fallback_is_known_as_one(tmp_path: Path) -> None:
    """The document beside it asks for something else."""
    async with road(tmp_path) as earlier:
        await earlier.apply(1, "1MB")
        earlier.verifier.verdicts = [BAD]
        assert Outcome.REJECTED == await earlier.apply(2, "2MB")

    one, _ = await restored(tmp_path)

    written = one.node.config.written
    assert written is not None
    assert (True, "1MB" in one.live) == (written.is_fallback, True)


async def test_a_start_is_noted(tmp_path: Path) -> None:
    """With what was in the file when the server was started, and in state.json, too."""
    async with road(tmp_path) as one:
        await one.apply(1, "1MB")
        one.node.start.begin(one.node.config.written)
        await one.recovery.note_start()
        started = one.node.config.state.started
        assert started is not None
        assert started == one.node.config.state.last_known_good
        assert started == (await one.store.load()).started


@pytest.mark.parametrize("written_again", [False, True])
async def test_a_start_without_the_file_is_not_noted(
    tmp_path: Path, *, written_again: bool
) -> None:
    """Somebody had removed it, whether or not the daemon has written another by then."""
    async with road(tmp_path) as one:
        await one.apply(1, "1MB")
        one.conf.path.unlink()
        one.node.start.begin(one.node.config.written)
        if written_again:
            await one.apply(2, "2MB")
        await one.recovery.note_start()
        assert one.node.config.state.started is None


async def test_what_was_read_before_it_was_replaced_is_noted(tmp_path: Path) -> None:
    """The file was as the daemon had left it when it wrote the next one."""
    async with road(tmp_path) as one:
        await one.apply(1, "1MB")
        one.node.start.begin(one.node.config.written)
        await one.apply(2, "2MB")
        await one.recovery.note_start()
        started = one.node.config.state.started
        assert started is not None
        assert 1 == started.generation


async def test_a_start_with_a_file_edited_by_hand_is_not_noted(tmp_path: Path) -> None:
    """Nobody knows what such a server has read, where another has started it."""
    async with road(tmp_path) as one:
        await one.apply(1, "1MB")
        one.conf.path.write_text(one.live.replace("1MB", "9MB"))
        one.postgres.started_late = True
        await one.recovery.note_start()
        assert one.node.config.state.started is None


@pytest.mark.parametrize("edit", ["{}work_mem = '7MB'\n", "# mine\n{}"])
async def test_an_edited_file_still_says_what_the_compute_has(tmp_path: Path, edit: str) -> None:
    """Also without the state folder no document takes its servers away by leaving them out."""
    async with road(tmp_path) as one:
        assert Outcome.APPLIED == await one.apply(1, "1MB")
        live = one.live
    shutil.rmtree(tmp_path / "state")
    (tmp_path / "c.conf").write_text(edit.format(live))
    raw = attached(tenant="1" * 32, timeline="2" * 32, settings={"work_mem": "2MB"})

    async with road(tmp_path) as another:
        await another.recovery.restore()
        result = await another.applier.apply(decode_document(json.dumps(raw).encode()), source=PUSH)
        assert Outcome.REJECTED == result.outcome
        assert "names no pageservers, but this compute has some" in result.reason
        assert edit.format(live) == another.live


@pytest.mark.parametrize("restarted", [False, True])
async def test_a_primary_that_suffers_stays_one(tmp_path: Path, restarted: bool) -> None:
    """A standby's document lends it its servers, and says nothing of what it is."""

    def replica(generation: int, pageserver: str) -> Document:
        made = attached(
            tenant="1" * 32,
            timeline="2" * 32,
            pageservers=[pageserver],
            settings={"work_mem": f"{generation}MB"},
        )
        made["spec"] |= {"mode": "Replica", "generation": generation}
        return decode_document(json.dumps(made).encode())

    async with road(tmp_path) as one:
        one.postgres.is_primary = True
        assert Outcome.APPLIED == await one.apply(1, "1MB")
        one.node.requests.worker_complains = True
        result = await one.applier.apply(replica(2, "postgres://new/"), source="file")
        assert (Outcome.REJECTED, True) == (result.outcome, "//new/" in one.live)
        if not restarted:
            result = await one.applier.apply(replica(3, "postgres://new/"), source="file")
            assert (Outcome.REJECTED, True) == (result.outcome, "'1MB'" in one.live)
    if restarted:
        async with road(tmp_path) as one:
            one.postgres.is_primary = True
            await one.recovery.restore()
            result = await one.applier.apply(replica(3, "postgres://new/"), source="file")
            assert (Outcome.REJECTED, True) == (result.outcome, "'1MB'" in one.live)
