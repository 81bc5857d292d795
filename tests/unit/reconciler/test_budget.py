"""The steps of an application share one deadline."""

import asyncio
import threading
from pathlib import Path

import pytest

from compute_ctl.decisions.persistent_state import ClusterIdentity, PersistentState
from compute_ctl.errors import StoreError
from compute_ctl.reconciler.budget import STEP_MIN_S, bounded, share
from compute_ctl.reconciler.generations import GenerationStore
from compute_ctl.settings import Deadlines
from compute_ctl.store.conf_file import ConfFile
from compute_ctl.store.state_dir import StateDir


async def test_a_step_gets_what_is_left() -> None:
    """Its own deadline, the rest of the whole, and a moment where nothing is left."""
    assert 5.0 == share(5.0)
    with bounded(3.0):
        assert 2.0 == share(2.0)
        assert 2.9 < share(5.0) <= 3.0
        with bounded(60.0):  # a fallback has time of its own
            assert 5.0 == share(5.0)
        assert share(5.0) <= 3.0
        assert 5.0 == await asyncio.create_task(_share_elsewhere(), context=None)
    with bounded(0.0):
        assert STEP_MIN_S == share(5.0)
    assert 5.0 == share(5.0)


async def _share_elsewhere() -> float:
    with bounded(60.0):
        return share(5.0)


class SlowStore(StateDir):
    """A state folder on a disk that answers nothing."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.answers = threading.Event()

    def save(self, state: PersistentState) -> None:
        """Hang."""
        self.answers.wait(30)


async def test_a_disk_that_hangs_costs_the_whole_once(tmp_path: Path) -> None:
    """Each of many steps would wait 5 s for it; together they wait no longer than they may."""
    disk = SlowStore(tmp_path / "state")
    conf = ConfFile(tmp_path / "c.conf", pgdata=tmp_path, pgbin="postgres", attach=True)
    store = GenerationStore(
        conf=conf,
        state=disk,
        identity=ClusterIdentity(compute_id="c", system_identifier="7", data_dir_inode="1:2"),
        deadlines=Deadlines(),
        nonce=lambda: "0" * 32,
    )
    clock = asyncio.get_running_loop().time
    begun = clock()
    with bounded(0.5):
        await store.save(PersistentState())  # only logged
        for _ in range(3):
            with pytest.raises(StoreError, match="the disk did not answer"):
                await store.live()
    assert 0.5 <= clock() - begun < 3.0

    begun = clock()
    await store.close(0.2)
    assert 0.2 <= clock() - begun < 3.0
    disk.answers.set()
