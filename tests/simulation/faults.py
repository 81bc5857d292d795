"""What is wrong around the daemon, for a while."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Faults:
    """What is wrong outside at present; probabilities, and seconds."""

    latency: float = 0.01
    loss: float = 0.0
    turned_away: float = 0.0
    nonsense: float = 0.0
    stale: float = 0.0
    empty: float = 0.0
    acks_lost: bool = False
    ack_loss: float = 0.0
    request_loss: float = 0.0
    overtaken: float = 0.0
    """What the worker sends arrives when it has given up waiting for an answer."""
    doubled: float = 0.0
    """It arrives once more, later."""
    sql_hangs: bool = False
    slow_disk: bool = False
