"""What is broken on a whole installation, when, and for how long: decided by a seed. Pure."""

import random
from dataclasses import dataclass
from typing import Final

NODES: Final = 3
CONTROLLER, CONTROL_PLANE, DAEMON = "controller", "control_plane", "daemon"
HOOK_FAULTS: Final = ("lost", "doubled", "late", "reordered")
NET_FAULTS: Final = ("refuse", "blackhole", "reset", "half_open")


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One fault of a round; begins at `at` and lasts `lasts`, in seconds of the round."""

    at: float
    kind: str
    target: str
    lasts: float = 0.0


def plan(seed: int, number: int, *, faults: int, seconds: float, disk: bool) -> list[Fault]:
    """Return the faults of round *number*, in order. Pure."""
    rng = random.Random(f"fleet {seed} {number}")
    found: list[Fault] = []
    busy: dict[str, float] = {}
    for at in sorted(rng.uniform(0, seconds) for _ in range(faults)):
        kind = rng.choice(
            ("kill", "kill", "stop", "cut", "move", "hook", "disk" if disk else "move")
        )
        target = _target(rng, kind)
        if busy.get(target, -1.0) > at:
            continue
        fault = Fault(at=at, kind=kind, target=target, lasts=rng.uniform(0.1, 1.5))
        found.append(fault)
        busy[target] = at + fault.lasts
    return found


def _target(rng: random.Random, kind: str) -> str:
    node = rng.randrange(1, NODES + 1)
    match kind:
        case "kill" | "stop":
            return rng.choice(
                (CONTROLLER, CONTROL_PLANE, f"{DAEMON}-{rng.choice('ab')}", f"pageserver-{node}")
            )
        case "cut":
            return f"{rng.choice(('pg', 'http'))}-{node} {rng.choice(NET_FAULTS)}"
        case "move":
            return f"node-{node}"
        case "hook":
            return rng.choice(HOOK_FAULTS)
        case _:
            return "disk"
