"""What happens in the demo: a pageserver dies twice, and the control plane acts the second time."""

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from devstack.demo.installation import OFFLINE_AFTER_S, ROWS, Installation
from devstack.demo.sessions import Session
from devstack.outage import Phases
from devstack.wait import wait_until

STEPS: Final = {
    "suspected": "PostgreSQL suspects it, and reports",
    "decided": "control plane: suspected and not answering, so it is down",
    "offline": "storage controller counts it as offline",
    "attached": "storage controller has moved the tenant",
    "published": "control plane has published the new place",
    "applied": "PostgreSQL has acknowledged it",
    "page": "the query that met the outage has its page",
}
HEAL_LIMIT_S: Final = 30.0

Tell = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Result:
    """One outage."""

    name: str
    phases: Phases
    queries: int
    """Answered while it lasted and around it."""
    failures: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The fields that are API of `--json`."""
        steps = self.phases.times()
        return {
            "evidence": self.name,
            "phases_ms": {name: None if at is None else round(at, 1) for name, at in steps.items()},
            "verdict": self.phases.verdict,
            "queries": self.queries,
            "queries_failed": len(self.failures),
        }


def tell_story(installation: Installation, tell: Tell) -> list[Result]:
    """Play both outages."""
    tell("first the control plane only observes: it shows what it thinks, and does nothing")
    tell(f"so the storage controller has to miss heartbeats for {OFFLINE_AFTER_S:g} s (Neon: 30 s)")
    observed = _outage(installation, "observe", tell)
    tell("the pageserver is started again, and the control plane with --evidence act")
    installation.stack.control_plane.argv += ["--evidence", "act"]
    _mend(installation)
    acted = _outage(installation, "act", tell)
    tell(f"the outage was {observed.phases.page / acted.phases.page:.1f} times shorter")
    return [observed, acted]


def _outage(installation: Installation, name: str, tell: Tell) -> Result:
    """Kill the pageserver in use while two sessions read, one of them the whole table."""
    node_id = installation.node_id
    victim = installation.stack.pageservers[node_id]
    connect = installation.compute.postgres.connect
    sessions = [
        Session(connect, sql=installation.scan, expected=ROWS, pages=installation.pages)
        for _ in range(2)
    ]
    for session in sessions:
        session.start()
    wait_until("both sessions to read", lambda: all(it.answered or it.failures for it in sessions))
    tell(f"pageserver {node_id} is killed under running queries")
    phases = installation.outage.meet(lambda: os.kill(victim.child.pid, signal.SIGKILL))
    victim.kill()  # it is dead: this only reaps it
    for session in sessions:
        session.stop(HEAL_LIMIT_S)
    failures = tuple(failure for session in sessions for failure in session.failures)
    new = installation.node_id
    tell(f"pages come from pageserver {new} after {phases.page:,.0f} ms; failed: {len(failures)}")
    return Result(
        name=name,
        phases=phases,
        queries=1 + sum(session.answered for session in sessions),
        failures=failures,
    )


def _mend(installation: Installation) -> None:
    """Start the dead pageserver and the control plane again; return when all is well."""
    stack = installation.stack
    (dead,) = (one["id"] for one in stack.controller.nodes() if one["availability"] != "Active")
    stack.start_pageserver(dead)
    stack.control_plane.restart()
    wait_until("all nodes", lambda: stack.controller.availability(dead) == "Active")
    installation.outage.wait_quiet()
