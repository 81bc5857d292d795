"""Parts of the reconciler that do nothing, for tests of its loop."""

import asyncio
from math import inf

from compute_common.document.document import Document
from compute_ctl.decisions.apply_plan import ApplyResult
from compute_ctl.decisions.model import PUSH, Outcome, StartFailure


class GoodApplier:
    """Brings a push into force; what comes from the source runs already."""

    def __init__(self) -> None:
        self.sources: list[str] = []
        self.verified = 0

    async def apply(self, document: Document, *, source: str, force: bool = False) -> ApplyResult:
        """Take *document*."""
        self.sources.append(source)
        return ApplyResult(outcome=Outcome.APPLIED if source == PUSH else Outcome.UNCHANGED)

    async def verify_again(self) -> ApplyResult:
        """Count it."""
        self.verified += 1
        return ApplyResult(outcome=Outcome.APPLIED)

    async def roll_back(self, *, old_upstream: bool) -> ApplyResult:
        """Go back."""
        return ApplyResult(outcome=Outcome.APPLIED)


class NoPromoter:
    """Promotes nothing."""

    urgent = False

    async def advance(self) -> bool:
        """Have nothing to do."""
        return False

    def close(self) -> None:
        """Have nothing to end."""


class NoRecovery:
    """Notes no start."""

    def __init__(self) -> None:
        self.noted = asyncio.Event()

    async def note_start(self) -> None:
        """Tell the test."""
        self.noted.set()


class NoCandidates:
    """The document names one pageserver for each shard, until `due` says otherwise."""

    due = False

    def __init__(self) -> None:
        self.switched = 0

    async def switch(self) -> ApplyResult:
        """Use another one."""
        self.due = False
        self.switched += 1
        return ApplyResult(outcome=Outcome.APPLIED)


class NoDrift:
    """A drift checker that finds nothing."""

    ended = False
    next_at = inf

    def begin(self) -> None:
        """Begin nothing."""

    def drop(self) -> None:
        """Have nothing to give up."""

    async def finish(self) -> None:
        """Find nothing."""

    async def after_fetch(self, result: ApplyResult, *, asked: bool) -> ApplyResult:
        """Find nothing."""
        return result


class StartFallbackStub:
    """Keeps the failed starts that it is told of."""

    def __init__(self) -> None:
        self.failures: list[StartFailure] = []

    async def handle(self, failure: StartFailure) -> None:
        """Keep *failure*."""
        self.failures.append(failure)
