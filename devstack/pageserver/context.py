"""What all connections of one pageserver share."""

from collections import Counter
from dataclasses import dataclass

from devstack.pageserver.faults import FaultBook
from devstack.pageserver.service import Limits, Service


@dataclass(frozen=True, kw_only=True)
class Context:
    """What all connections share."""

    service: Service
    faults: FaultBook
    limits: Limits
    auth_key: str | None
    counts: Counter[str]
