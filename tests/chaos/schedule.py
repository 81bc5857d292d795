"""What is broken, when, and for how long: decided by a seed, before anything happens. Pure.

A round can be planned without those before it, so a failure is replayed by its seed and number.
"""

import random
from dataclasses import dataclass
from typing import Final

PAGESERVER, CONTROL_PLANE, DAEMON, WORKER = "pageserver", "control_plane", "daemon", "worker"
POSTGRES, TENANT, DISK = "postgres", "tenant", "disk"
PROCESSES: Final = (PAGESERVER, CONTROL_PLANE, DAEMON, WORKER)
ROUTES: Final = (PAGESERVER, CONTROL_PLANE)

LIES: Final = (
    *("wrong_echo", "wrong_tag", "wrong_type", "truncated", "trailing", "bad_framing"),
    *("copy_done", "copy_fail", "reconnect", "timed_out", "half_message", "reset", "silent"),
)
"""Faults of the pageserver stand-in."""
NONSENSE: Final = ("503", "garbage", "half", "drop", "silent", "older", "401")
"""Answers of a control plane in trouble."""
BACK: Final = -1
"""In place of a number of pageservers: where the shard came from."""


@dataclass(frozen=True, kw_only=True)
class Topology:
    """How many of each there are, and whether the daemon's disk can be filled."""

    pageservers: int
    shards: int
    disk: bool


@dataclass(frozen=True, kw_only=True)
class FaultKind:
    """One way to break something."""

    name: str
    roles: tuple[str, ...]
    group: str
    """Two faults of one group do not strike the same target at the same time."""
    lasts: tuple[float, float] = (0.0, 0.0)
    weight: int = 2


KINDS: Final = (
    FaultKind(name="kill", roles=PROCESSES, group="process", lasts=(0.02, 0.8), weight=6),
    FaultKind(name="stop", roles=PROCESSES, group="process", lasts=(0.1, 1.2), weight=5),
    FaultKind(name="term", roles=(PAGESERVER, WORKER), group="process", lasts=(0.02, 0.8)),
    FaultKind(name="reset", roles=ROUTES, group="network", weight=3),
    FaultKind(name="half_open", roles=ROUTES, group="network"),
    FaultKind(name="refuse", roles=ROUTES, group="network", lasts=(0.05, 1.0)),
    FaultKind(name="blackhole", roles=ROUTES, group="network", lasts=(0.05, 1.5), weight=3),
    FaultKind(name="delay", roles=ROUTES, group="network", lasts=(0.2, 1.5)),
    FaultKind(name="half", roles=ROUTES, group="network", lasts=(0.1, 0.5)),
    FaultKind(name="lie", roles=(PAGESERVER,), group="answer", lasts=(0.05, 0.6), weight=4),
    FaultKind(
        name="login_refused", roles=(PAGESERVER,), group="answer", lasts=(0.05, 1.0), weight=4
    ),
    FaultKind(name="nonsense", roles=(CONTROL_PLANE,), group="answer", lasts=(0.1, 1.0), weight=3),
    FaultKind(name="disk_full", roles=(DISK,), group="disk", lasts=(0.3, 1.5)),
    FaultKind(name="reload_storm", roles=(POSTGRES,), group="reload", lasts=(0.1, 0.6)),
    FaultKind(name="refresh_storm", roles=(DAEMON,), group="refresh", lasts=(0.1, 0.6)),
    FaultKind(name="publish_storm", roles=(CONTROL_PLANE,), group="documents", lasts=(0.05, 0.6)),
    FaultKind(name="move", roles=(TENANT,), group="tenant", lasts=(0.0, 0.8), weight=9),
)


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One fault: begins at `at`, ends `lasts` later (seconds of the round).

    `target` is a role, with a number for a pageserver; a `move` names the shard, goes to the
    pageserver `to` numbers further on, and lasts until the control plane is told.
    """

    at: float
    kind: str
    target: str
    lasts: float = 0.0
    what: str = ""
    number: int = 0
    to: int = 0

    @property
    def role(self) -> str:
        """Target without its number."""
        return self.target.partition("-")[0]

    @property
    def label(self) -> str:
        """What it is counted as."""
        return f"{self.kind} {self.role}".replace("disk_full disk", "disk_full")

    def __str__(self) -> str:
        words = [f"{self.at:.3f}", self.kind, self.target, f"for {self.lasts:.3f}", self.what]
        words += [f"number {self.number}"] if self.number else []
        words += [f"by {self.to}" if self.to != BACK else "back"] if self.kind == "move" else []
        return " ".join(word for word in words if word)


@dataclass(frozen=True, kw_only=True)
class Round:
    """Some seconds of trouble, and how long the peace after it may take to come."""

    number: int
    seconds: float
    faults: tuple[Fault, ...]
    heal_bound: float


HEAL_S: Final = 15.0
"""The daemon asks a control plane that has failed every 5 s at the latest; a page request that
meets a dead connection ends after 4 s (`query_cancel_after` of the cluster)."""
HEAL_LOST_POLL_S: Final = 30.0
"""Beside a long poll that has died unnoticed the control plane is asked after 10 s at the latest,
and a fetch on another dead connection is given up after 10 s."""


def heal_bound(faults: tuple[Fault, ...]) -> float:
    """Return how many seconds after all are up and reachable everything must be healed."""
    lost = any(
        fault.role == CONTROL_PLANE
        and (fault.kind == "half_open" or (fault.kind == "half" and fault.what == "silence"))
        for fault in faults
    )
    return HEAL_LOST_POLL_S if lost else HEAL_S


def plan(
    seed: int, number: int, topology: Topology, *, seconds: float = 4.0, faults: int = 8
) -> Round:
    """Return round *number* of *seed*: so many faults within so many seconds, in order."""
    rng = random.Random(f"chaos {seed} {number}")
    kinds = [kind for kind in KINDS if topology.disk or DISK not in kind.roles]
    weights = [kind.weight for kind in kinds]
    chosen: list[Fault] = []
    busy: dict[tuple[str, str], float] = {}
    times = sorted(rng.uniform(0, seconds) for _ in range(faults))
    for at in times:
        kind = rng.choices(kinds, weights)[0]
        target = _target(rng, kind, topology)
        place = (kind.group, target)
        fault = _fault(rng, kind, topology, at=round(at, 3), target=target, seconds=seconds)
        if busy.get(place, -1.0) > at:
            continue
        chosen.append(fault)
        busy[place] = fault.at + fault.lasts
        if kind.name == "move" and rng.random() < 0.4:
            chosen.append(_back(rng, fault, seconds))
            busy[place] = seconds
    ordered = tuple(sorted(chosen, key=lambda fault: fault.at))
    return Round(number=number, seconds=seconds, faults=ordered, heal_bound=heal_bound(ordered))


def _target(rng: random.Random, kind: FaultKind, topology: Topology) -> str:
    role = rng.choice(kind.roles)
    if kind.name == "move":
        return f"{role}-{rng.randrange(topology.shards)}"
    return f"{role}-{rng.randrange(topology.pageservers)}" if role == PAGESERVER else role


def _fault(
    rng: random.Random,
    kind: FaultKind,
    topology: Topology,
    *,
    at: float,
    target: str,
    seconds: float,
) -> Fault:
    lasts = round(min(rng.uniform(*kind.lasts), seconds - at), 3)
    what, number, to = "", 0, 0
    match kind.name:
        case "delay":
            number = rng.choice((1, 5, 20, 100))
        case "half":
            what, number = rng.choice(("rst", "silence")), rng.randrange(9000)
        case "lie":
            what, number = rng.choice(LIES), rng.choice((1, 1, 2, 5))
        case "nonsense":
            what = rng.choice(NONSENSE)
        case "login_refused":
            number = rng.choice((0, 1, 2, 5))
        case "reload_storm" | "refresh_storm" | "publish_storm":
            number = rng.randint(5, 40)
        case "move":
            to = rng.randrange(1, topology.pageservers)
            lasts = lasts if rng.random() < 0.6 else 0.0
        case _:
            pass
    return Fault(at=at, kind=kind.name, target=target, lasts=lasts, what=what, number=number, to=to)


def _back(rng: random.Random, move: Fault, seconds: float) -> Fault:
    """The way back of a move: soon, perhaps before its publication."""
    at = round(min(move.at + rng.uniform(0.02, 1.0), seconds), 3)
    lasts = round(min(rng.uniform(0.0, 0.5), seconds - at), 3)
    return Fault(at=at, kind="move", target=move.target, lasts=lasts, to=BACK)
