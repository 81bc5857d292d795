"""A compute that falls ill again and again: two places for its pageserver, one session that reads.

A round: the control plane names the healthy place, the other falls ill, a query suffers and
heals. Between rounds everything is well again and at rest, so that each begins an outage of its
own. A round's time runs from the begin of the query that meets the trouble to its first page.
"""

import select
import time
from collections.abc import Callable
from dataclasses import dataclass

import psycopg

from devstack.compute import Compute
from devstack.launch import Pageserver
from devstack.wait import wait_until
from pg_hook.shards import shard_of_block

FIRST_PAGE = b"select length(neon_refresh.read_page('story', 0))"
ALL_SHARDS = b"select count(neon_refresh.read_page('story', n)) from generate_series(0, 99) n"
WARM_UP = b"select length(neon_refresh.read_page(null::regclass, 0))"
ROWS = 20_000
STRIPE_PAGES = 1
HEAL_LIMIT_S = 30.0
REST_S = 0.08
"""Between two troubles: more than the library's shortest pause between two requests."""
NOT_A_PAGE = RuntimeError("the query brought no page")


@dataclass(frozen=True, kw_only=True)
class Trouble:
    """One way in which a pageserver ceases to serve."""

    name: str
    prepare: Callable[[Pageserver], object] = lambda _: None
    """Before the clock starts: nobody asks for a page."""
    dies: bool = False
    """It must be started again."""
    fresh: bool = False
    """In a session that has no stream open."""


def _refuse(pageserver: Pageserver) -> None:
    pageserver.admin.set_fault("refuse")


def _cut(pageserver: Pageserver) -> None:
    pageserver.admin.disconnect("rst", idle_only=False)


def _leave(pageserver: Pageserver) -> None:
    _refuse(pageserver)
    _cut(pageserver)


KILLED = Trouble(name="refused", prepare=Pageserver.kill, dies=True)
REFUSED_FRESH = Trouble(name="refused, no stream open", prepare=_leave, fresh=True)
CUT = Trouble(name="cut off and refused", prepare=_leave)
RESET = Trouble(
    name="reset in mid-request", prepare=lambda it: it.admin.set_fault("reset", phase="response")
)
SILENT = Trouble(name="silent", prepare=lambda it: it.admin.set_fault("silent", phase="response"))
WRONG = Trouble(name="wrong (reconnect)", prepare=lambda it: it.admin.set_fault("reconnect"))


class HealingCompute:
    """A running compute behind a control plane; its pageservers and daemon are started here."""

    def __init__(self, compute: Compute, *, shards: int = 1) -> None:
        self._compute = compute
        self._shards = shards
        compute.fill(ROWS)
        node = compute.postgres.value("select pg_relation_filenode('story')::bigint")
        self._moving = shard_of_block(node, 0, shard_count=shards, stripe_size=STRIPE_PAGES)
        self._ill = self._start("a")
        self._well = self._start("b")
        self._rest = self._start("c") if shards > 1 else self._well
        self._publish(self._ill)
        compute.start_daemon()
        self._session = compute.postgres.connect()
        self._session.execute(ALL_SHARDS)
        self._healed_at = time.monotonic()

    def _start(self, name: str, **options: str) -> Pageserver:
        return self._compute.pageserver(name, stripe_size=STRIPE_PAGES, **options)

    def _publish(self, place: Pageserver) -> None:
        places = [self._rest] * self._shards
        places[self._moving] = place
        self._compute.publish(*places, stripe_size=STRIPE_PAGES if self._shards > 1 else None)

    def heal(self, trouble: Trouble) -> float:
        """Return the milliseconds to the first page; the news is published already."""
        self._rest_a_while()
        self._publish(self._well)
        trouble.prepare(self._ill)
        session = self._fresh() if trouble.fresh else self._session
        begun = time.perf_counter()
        result = session.pgconn.exec_(FIRST_PAGE)
        taken = (time.perf_counter() - begun) * 1000
        if result.ntuples != 1 or result.get_value(0, 0) != b"8192":
            raise NOT_A_PAGE
        if trouble.fresh:
            session.close()
        self._recover(trouble)
        return taken

    def _fresh(self) -> psycopg.Connection[tuple[object, ...]]:
        """Open a session that has loaded what it needs and asked for nothing yet."""
        session = self._compute.postgres.connect()
        session.execute(WARM_UP)
        return session

    def fall_ill(self) -> None:
        """Cut the pageserver off, and let a query suffer; `heal_late` is to follow."""
        self._rest_a_while()
        CUT.prepare(self._ill)
        self._session.pgconn.send_query(FIRST_PAGE)

    def heal_late(self) -> float:
        """Return the milliseconds from the publication to the first page."""
        begun = time.perf_counter()
        self._publish(self._well)
        pg = self._session.pgconn
        while pg.is_busy():
            if not select.select([pg.socket], [], [], HEAL_LIMIT_S)[0]:
                raise TimeoutError(f"not healed within {HEAL_LIMIT_S:g} s")
            pg.consume_input()
        result = pg.get_result()
        taken = (time.perf_counter() - begun) * 1000
        if result is None or result.get_value(0, 0) != b"8192" or pg.get_result() is not None:
            raise NOT_A_PAGE
        self._recover(CUT)
        return taken

    def _rest_a_while(self) -> None:
        time.sleep(max(0.0, self._healed_at + REST_S - time.monotonic()))

    def _recover(self, trouble: Trouble) -> None:
        """Wait until nobody complains, and make the ill pageserver the next healthy one."""
        self._healed_at = time.monotonic()
        self._compute.wait_in_sync()
        self._compute.daemon.wait_status(
            "the end of suspicion",
            lambda found: found["status"] == "running" and not found["refresh"]["pending"],
        )
        self._session.execute(ALL_SHARDS)
        if trouble.dies:
            self._ill = self._start(self._ill.log.stem, listen=self._ill.address)
        else:
            self._ill.admin.clear_faults()
            wait_until("the pageserver to listen", lambda: self._ill.admin.stats()["listening"])
        self._ill, self._well = self._well, self._ill
