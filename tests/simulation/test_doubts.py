"""What is doubtful after a refusal or a power failure is not believed."""

import asyncio
import random
import time
from datetime import UTC, datetime
from pathlib import Path

from compute_ctl.decisions.model import AckMessage, Written
from compute_ctl.decisions.persistent_state import ClusterIdentity, PersistentState, Quarantined
from compute_ctl.decisions.proof import Proof
from compute_ctl.decisions.sql_report import SqlReport
from compute_ctl.document.generation import LiveFile, Marker
from compute_ctl.errors import ProbeError
from compute_ctl.node import Node
from compute_ctl.reconciler.generations import GenerationStore
from compute_ctl.reconciler.verifier import Verifier
from compute_ctl.settings import Deadlines
from tests.simulation.disk import Disk
from tests.simulation.documents import Ordering, Writer
from tests.simulation.stores import Fence, SimConfStore, SimStateStore
from tests.support.clock import FakeClock
from tests.support.fakes import IdlePostgres

NOW = datetime(2030, 1, 1, tzinfo=UTC)
BODY = "work_mem = '1MB'\n"


class MutePostgres(IdlePostgres):
    """A server that answers nothing over SQL."""

    async def look(self, *, deadline_s: float) -> SqlReport:
        """Say nothing."""
        raise ProbeError(f"no answer within {deadline_s:g} s")


def generations(disk: Disk, deadlines: Deadlines | None = None) -> GenerationStore:
    """Return the files of one daemon on *disk*."""
    fence = Fence()
    return GenerationStore(
        conf=SimConfStore(disk, fence, check_answers=True),
        state=SimStateStore(disk, fence),
        identity=ClusterIdentity(compute_id="c", system_identifier="7", data_dir_inode="1:2"),
        deadlines=deadlines or Deadlines(),
        nonce=lambda: "0" * 32,
    )


async def installed(disk: Disk) -> Marker:
    """Write a generation, and die before it is synchronized."""
    files = generations(disk)
    document = Writer(Ordering.GENERATION).write(0)
    marker = await files.install(BODY, document=document, token=None, state=PersistentState())
    await files.after_signal()
    await files.close(1.0)
    return marker


class Torn(random.Random):
    """Undoes no rename, and tears every file that may be torn."""

    def random(self) -> float:
        """Return the highest number."""
        return 0.999


async def test_a_torn_generation_is_not_kept() -> None:
    """Nobody falls back to a file of which a power failure has left a part."""
    disk = Disk()
    marker = await installed(disk)
    disk.sync("")
    disk.lose_power(Torn(1))
    files = generations(disk)
    assert await files.kept(marker.generation) is None
    await files.close(1.0)


async def test_what_a_killed_daemon_wrote_is_synchronized_before_a_state_names_it() -> None:
    """Once the state is saved, a power failure finds the generation and the live file whole."""
    disk = Disk()
    marker = await installed(disk)
    files = generations(disk)
    files.adopt_live(marker.generation)
    await files.save(PersistentState(compute_id="c"))
    disk.lose_power(Torn(1))
    kept = await files.kept(marker.generation)
    assert kept is not None
    assert LiveFile.parse(disk.files["compute_ctl.conf"]) == kept[1]
    await files.close(1.0)


async def test_a_write_that_ended_while_the_loop_stood_still_is_not_late() -> None:
    """What is in force already must not be taken for what the disk did not answer."""
    files = generations(Disk(), Deadlines(swap=0.05))
    document = Writer(Ordering.GENERATION).write(0)
    writing = asyncio.create_task(
        files.install(BODY, document=document, token=None, state=PersistentState())
    )
    await asyncio.sleep(0)  # now the thread has it
    time.sleep(0.2)  # noqa: ASYNC251 -- a loop that stands still is what this is about
    assert 1 == (await writing).generation
    await files.close(1.0)


async def _proof(*, refused: bool) -> Proof:
    """Return what an acknowledgement proves of a generation while SQL is mute."""
    node = Node(clock=FakeClock(), postgres=MutePostgres())
    entry = Quarantined(content_sha256="content", reason="bad", at=NOW)
    node.config.state = PersistentState(quarantine=(entry,) if refused else ())
    marker = Marker.of(generation=1, nonce="0" * 32, body=BODY)
    node.now_written(
        Written(marker=marker, rest=BODY, upstream="", at=NOW, content_sha256="content")
    )
    verifier = Verifier(
        node=node, postgres=MutePostgres(), probe=MutePostgres(), clock=FakeClock(),
        conf_path=str(Path("/pgdata/compute_ctl.conf")), deadlines=Deadlines(ack=0.05),
    )  # fmt: skip
    node.acknowledge(AckMessage(marker=str(marker), map_sha256="", shard_count=1))
    verdict = await asyncio.wait_for(verifier.inspect(), 5.0)
    return Proof.NONE if verdict is None else verdict.proof


async def test_silence_does_not_outweigh_a_refusal() -> None:
    """The servers of a refused generation are acknowledged too: that proves nothing of the rest."""
    assert Proof.UPSTREAM == await _proof(refused=False)
    assert Proof.NONE == await _proof(refused=True)
