"""What happens in the demo: three ways in which a pageserver can move away under a query."""

import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from devstack.demo.compute import ROWS, DemoCompute
from devstack.demo.sessions import Session
from devstack.launch import Pageserver
from devstack.wait import wait_until

ONE_PAGE = "select length(neon_refresh.read_page('story', 0))"
PAGE_BYTES = 8192
HEAL_LIMIT_S = 20.0
LATE_S = 2.0


@dataclass(frozen=True, kw_only=True)
class Result:
    """One scenario's figures."""

    name: str
    healed: bool
    heal_ms: float | None
    """From the moment that made it necessary to the first page from the new pageserver."""
    queries_failed: int
    pages_read: int
    refresh_requests: int
    config_fetches: int
    failures: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The fields that are API of `--json`."""
        found = asdict(self)
        del found["failures"]
        return found


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """A name, a sentence, and what is done while two sessions read."""

    name: str
    story: str
    act: Callable[[DemoCompute, Pageserver, Pageserver], float]
    """Gets the demo, the old and the new pageserver; returns when the healing began."""
    old_dies: bool = True
    """Then every answer to a query that began later comes from the new one."""


def move_and_kill(demo: DemoCompute, old: Pageserver, new: Pageserver) -> float:
    """The control plane knows the new place; the old one dies."""
    demo.move_to(new)
    begun = time.monotonic()
    old.kill()
    return begun


def kill_and_move_late(demo: DemoCompute, old: Pageserver, new: Pageserver) -> float:
    """The old pageserver dies; the control plane learns the new place two seconds later."""
    begun = time.monotonic()
    old.kill()
    timer = threading.Timer(LATE_S, demo.move_to, [new])
    timer.start()
    timer.join()
    return begun


def operator_posts(demo: DemoCompute, old: Pageserver, new: Pageserver) -> float:
    """Nothing is broken: the tenant has moved, and an operator says so with curl."""
    del old
    demo.move_to(new)
    begun = time.monotonic()
    url = f"http://127.0.0.1:{demo.compute.daemon.port}/refresh_configuration"
    subprocess.run(["curl", "-sS", "-f", "-o", "/dev/null", "-X", "POST", url], check=True)
    return begun


SCENARIOS = (
    Scenario(
        name="moved",
        story="the tenant moves from {old} to {new}, and {old} is killed",
        act=move_and_kill,
    ),
    Scenario(
        name="late",
        story="{old} is killed, and the control plane learns of {new} two seconds later",
        act=kill_and_move_late,
    ),
    Scenario(
        name="operator",
        story="the tenant moves from {old} to {new}, and an operator runs curl -X POST",
        act=operator_posts,
        old_dies=False,
    ),
)


def play(demo: DemoCompute, scenario: Scenario, tell: Callable[[str], None]) -> Result:
    """Play one scenario under load and return its figures."""
    old = demo.current
    new = demo.new_pageserver()
    sessions = [
        Session(demo.compute.postgres.connect, sql=demo.scan, expected=ROWS, pages=demo.pages),
        Session(demo.compute.postgres.connect, sql=ONE_PAGE, expected=PAGE_BYTES, pages=1),
    ]
    fetches, requests = _fetches(demo), _requests(demo)
    for session in sessions:
        session.start()
    wait_until("both sessions to read", lambda: all(s.answers or s.failures for s in sessions))
    tell(scenario.story.format(old=old.address, new=new.address))
    begun = scenario.act(demo, old, new)
    healed_at = _wait_healed(sessions[1], new, begun if scenario.old_dies else None)
    if healed_at is not None:
        tell(f"healed in {(healed_at - begun) * 1000:.1f} ms")
    for session in sessions:
        session.stop(HEAL_LIMIT_S)
    shown = demo.compute.postgres.value("select current_setting('neon.pageserver_connstring')")
    failures = tuple(failure for session in sessions for failure in session.failures)
    return Result(
        name=scenario.name,
        healed=healed_at is not None and shown == new.url,
        heal_ms=None if healed_at is None else round((healed_at - begun) * 1000, 3),
        queries_failed=len(failures),
        pages_read=sum(session.pages_read for session in sessions),
        refresh_requests=_requests(demo) - requests,
        config_fetches=_fetches(demo) - fetches,
        failures=failures,
    )


def _wait_healed(probe: Session, new: Pageserver, begun: float | None) -> float | None:
    """Return when the first page came from *new*, None if none came in time.

    Where the old one died at *begun* that is the first answer to a query that began later, else
    when the new one was first seen to have sent a page.
    """
    try:
        wait_until(
            "a page from the new pageserver",
            lambda: probe.failures or new.admin.stats()["pages_sent"] > 0,
            HEAL_LIMIT_S,
        )
        if begun is None:
            return time.monotonic()
        wait_until(
            "an answer after the move",
            lambda: probe.failures or probe.first_begun_after(begun) is not None,
            HEAL_LIMIT_S,
        )
    except AssertionError:
        return None
    return probe.first_begun_after(begun)


def _fetches(demo: DemoCompute) -> int:
    count: int = demo.control_plane.admin.stats()["fetches"]
    return count


def _requests(demo: DemoCompute) -> int:
    return int(demo.compute.daemon.metric("pg_cctl_pagestream_request_errors_total"))
