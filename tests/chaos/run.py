"""One run: a cluster, a load, and as many rounds as asked for."""

import shutil
import tempfile
import time
from collections.abc import Iterable
from itertools import count
from pathlib import Path
from random import Random

from devstack.postgres import Template
from tests.chaos.cluster import CANCEL_AFTER_S, Cluster
from tests.chaos.figures import Figures
from tests.chaos.load import Expected, Load
from tests.chaos.play import Note, Player
from tests.chaos.schedule import Topology, plan
from tests.support.small_disk import Disk, small_disk

SESSIONS = 4


def cast_of(seed: int, *, disk: bool) -> Topology:
    """Return who plays in a run of this seed."""
    rng = Random(f"topology {seed}")
    return Topology(pageservers=rng.choice((2, 3, 3)), shards=rng.choice((2, 4, 4, 8)), disk=disk)


def run(
    template: Template,
    *,
    seed: int,
    rounds: Iterable[int] | None = None,
    seconds: float | None = None,
    round_seconds: float = 4.0,
    faults: int = 8,
    note: Note = lambda _: None,
    keep: bool = True,
) -> Figures:
    """Play rounds (all from 1 on, or these) until they or `seconds` are over.

    `keep`: the logs of a run that failed are copied to a folder, which is noted.
    """
    begun = time.monotonic()
    figures = Figures(seed)
    with small_disk() as disk:
        usable = disk if isinstance(disk, Disk) else None
        if isinstance(disk, str):
            figures.skipped.append(f"disk_full: {disk}")
        topology = cast_of(seed, disk=True)
        with Cluster(template, topology, usable) as cluster:
            load = _load(cluster, seed)
            load.start()
            player = Player(cluster, load, figures, note)
            try:
                for number in rounds if rounds is not None else count(1):
                    planned = plan(seed, number, topology, seconds=round_seconds, faults=faults)
                    note(f"round {number}, {len(planned.faults)} faults")
                    player.play(planned)
                    if seconds is not None and time.monotonic() - begun > seconds:
                        break
            finally:
                _end(load, figures)
                figures.seconds = time.monotonic() - begun
                if figures.failed and keep:
                    note(f"logs: {_keep_logs(cluster.folder, seed)}")
    return figures


def _load(cluster: Cluster, seed: int) -> Load:
    return Load(
        cluster.postgres,
        Expected(pages=cluster.fill(), cancel_after=CANCEL_AFTER_S),
        count=SESSIONS,
        seed=seed,
        last_crash=lambda: cluster.last_crash,
    )


def _end(load: Load, figures: Figures) -> None:
    for what in (*(f"{name} did not end" for name in load.end()), *load.take_trouble()):
        figures.violation(what)
    figures.tally = load.total()


def _keep_logs(folder: Path, seed: int) -> Path:
    kept = Path(tempfile.mkdtemp(prefix=f"chaos-{seed}-"))
    for path in (*folder.glob("*.log"), folder / "log"):
        if path.exists():
            shutil.copy(path, kept)
    return kept
