"""Memory and descriptors after very many reloads.

The suite reloads some hundred times. The long run takes three quarters of a minute:

    make test ARGS=tests/pg/test_leaks.py RELOADS=10000
"""

import os
import random
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from devstack.installation import major
from devstack.postgres import Postgres
from devstack.wait import wait_until
from tests.pg.conftest import MakeNeon
from tests.support.daemon_stub import ACK, DaemonStub
from tests.support.files import descriptors

RELOADS = int(os.environ.get("RELOADS", "400"))
WARM_UP = 150
SEED = 20261122
SECONDS_A_RELOAD = 0.1  # on average, and far too long; a bound all the same
RELOAD_TIMEOUT_S = 10.0

# what a thousand reloads cost if each of them loses a quarter of a kilobyte
GROWTH_KB = 256
LOADED = "SELECT pg_conf_load_time(), acks_total FROM neon_refresh.stat"


@dataclass(frozen=True)
class Held:
    """What a process has."""

    descriptors: int
    memory_kb: int


def held_by(pid: int) -> Held:
    """Look at a process: what it shares with others, and the server's table files, do not count."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    found = re.search(r"^Anonymous: +(\d+) kB", rollup, re.MULTILINE)
    assert found is not None
    targets = descriptors(pid)
    return Held(len([name for name in targets if "/data/base/" not in name]), int(found[1]))


class Reloader:
    """Writes one configuration after the other and sees that all processes have read it."""

    def __init__(self, server: Postgres, session: psycopg.Connection[tuple[Any, ...]]) -> None:
        self._server = server
        self._session = session
        self._random = random.Random(SEED)
        self.generation = 0

    def _row(self) -> tuple[Any, ...]:
        row = self._session.execute(LOADED).fetchone()
        assert row is not None
        return row

    def _list(self) -> str:
        if self._random.random() < 0.1:
            return "port=1"  # refused: it names no host
        shards = self._random.choice([0, 1, 2, 8, 128])
        return ",".join(f"host=127.0.0.1 port={self._random.randint(1, 9)}" for _ in range(shards))

    def reload(self, times: int) -> None:
        """Reload so often, each time with another list, stripe size and marker."""
        for _ in range(times):
            self.generation += 1
            self._server.configure(
                {
                    "neon.stripe_size": self._random.choice([8, 16, 2048]),
                    "neon.pageserver_connstring": self._list(),
                    "neon_refresh.sources": self._random.choice(["primary", "pageserver,primary"]),
                    "neon_refresh.config_generation": f"{self.generation}.a.b",
                }
            )
            before = self._row()
            self._server.reload()
            # the backend has read the file, and the worker has told of it
            end = time.monotonic() + RELOAD_TIMEOUT_S
            while (now := self._row())[0] == before[0] or now[1] == before[1]:
                assert time.monotonic() < end, f"not read and told: generation {self.generation}"


def context_bytes(server: Postgres, pid: int) -> int:
    """Return the bytes of all memory contexts of a backend, as it logs them itself."""
    start = server.log_position()
    assert server.value("SELECT pg_log_backend_memory_contexts(%s)", pid) is True
    server.wait_log("Grand total", start=start)
    found = re.search(r"Grand total: (\d+) bytes", server.log_text(start))
    assert found is not None
    return int(found[1])


@pytest.mark.timeout(60 + RELOADS * SECONDS_A_RELOAD)
def test_many_reloads_leak_nothing(make_neon: MakeNeon, daemon: DaemonStub) -> None:
    """Neither memory nor descriptors of postmaster, worker and backend grow with reloads."""
    server = make_neon({"neon_refresh.config_generation": "0.a.b"}, daemon=daemon)
    daemon.wait_for(ACK)
    with server.connect() as session:
        reloader = Reloader(server, session)
        reloader.reload(WARM_UP)
        pids = {
            "postmaster": server.pid,
            "worker": server.value("SELECT worker_pid FROM neon_refresh.stat"),
            "backend": session.info.backend_pid,
        }
        before = {name: held_by(pid) for name, pid in pids.items()}
        contexts = context_bytes(server, pids["backend"]) if major() >= 14 else 0
        reloader.reload(RELOADS)
        after = {name: held_by(pid) for name, pid in pids.items()}
        if major() >= 14:
            grown = context_bytes(server, pids["backend"]) - contexts
            assert grown <= GROWTH_KB * 1024
        marker = f"{reloader.generation}.a.b"
        wait_until(marker, lambda: daemon.of(ACK)[-1].body["marker"] == marker)

    for name in pids:
        assert after[name].descriptors <= before[name].descriptors, name
        assert after[name].memory_kb <= before[name].memory_kb + GROWTH_KB, name
