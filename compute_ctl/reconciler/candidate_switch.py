"""Moves a shard to another pageserver of the document while Postgres complains of the one in use.

It comes before the source is asked: the document has said already where else the pages may be.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from compute_common.document.document import Document
from compute_common.errors import SpecError
from compute_ctl.decisions.apply_plan import ApplyResult, reasons
from compute_ctl.decisions.candidates import REST_S, replacements
from compute_ctl.decisions.model import GOOD_OUTCOMES, Outcome, Written
from compute_ctl.document.candidates import Candidates
from compute_ctl.document.conninfo import parse
from compute_ctl.errors import StoreError
from compute_ctl.node import Node
from compute_ctl.ports import Clock
from compute_ctl.reconciler.activation import Activation, ConfigUpdate, Refusal
from compute_ctl.reconciler.generations import GenerationStore

CANDIDATE: Final = "candidate"
"""An attempt that moves to another pageserver of the document."""
FIRST: Final = "another pageserver of the document is tried first"
"""Why a fetch under way is given up; it is made again."""


@dataclass(kw_only=True, eq=False)
class CandidateSwitch:
    """Chooses among the pageservers of the live file."""

    node: Node
    store: GenerationStore
    activation: Activation
    clock: Clock
    _left_at: dict[tuple[int, str], float] = field(default_factory=dict, init=False)
    """When a pageserver of a shard was last left, in monotonic seconds."""

    @property
    def due(self) -> bool:
        """Whether Postgres complains of a pageserver in use, and the document names another."""
        return bool(self._instead())

    def _instead(self) -> dict[int, str]:
        written = self.node.config.written
        if written is None or not written.candidates.comments:
            return {}
        return replacements(
            written.candidates,
            self.node.requests.suspected_shards(written, self.clock.monotonic()),
            self._left_at,
            now=self.clock.monotonic(),
        )

    async def switch(self) -> ApplyResult:
        """Bring the other pageservers into force; return how that ended."""
        written, instead = self.node.config.written, self._instead()
        if written is None or not instead:
            return ApplyResult(outcome=Outcome.UNCHANGED)
        now, before = self.clock.monotonic(), written.candidates
        left = {number: before.in_use[number] for number in instead}
        resting = {one: at for one, at in self._left_at.items() if now - at < REST_S}
        self._left_at = resting | dict.fromkeys(left.items(), now)
        self.node.requests.leave(left, now)
        try:
            result = await self._activate(written, instead)
        except (SpecError, StoreError) as error:
            result = ApplyResult(outcome=Outcome.WRITE_FAILED, reason=str(error))
        if result.outcome in GOOD_OUTCOMES:
            return replace(result, reason=_moves(before, instead))
        self._left_at |= dict.fromkeys(instead.items(), now)
        return result

    async def _activate(self, written: Written, instead: Mapping[int, str]) -> ApplyResult:
        document = await self.activation.document(written)
        if document is None:
            raise StoreError(f"the document of generation {written.marker.generation} is not kept")
        upstream = written.candidates.using(instead).written_to(written.upstream)
        update = await self._update(written, document, written.rest + upstream)
        result = await self.activation.activate(update)
        if result.refused:
            back = await self._update(written, document, written.body)
            reason = reasons(result.refused, places=False)
            result = await self.activation.fall_back(Refusal(reason=reason, update=back))
        await self.store.save(self.node.config.state)
        return result

    async def _update(self, written: Written, document: Document, body: str) -> ConfigUpdate:
        same = written.content_sha256 == document.content_sha256
        return ConfigUpdate(
            body=body,
            document=replace(document, version=written.version) if same else document,
            token=await self.store.token(),
            is_fallback=written.is_fallback,
        )


def _moves(before: Candidates, instead: Mapping[int, str]) -> str:
    return "; ".join(
        f"shard {number}: pageserver {parse(other).address} instead of "
        f"{parse(before.in_use[number]).address}"
        for number, other in sorted(instead.items())
    )
