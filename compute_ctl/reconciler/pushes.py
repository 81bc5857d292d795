"""What the caller of a push is told, and when: after the proof, and after the catalog if it can."""

from __future__ import annotations

from asyncio import Future

from compute_common.document.document import Document
from compute_common.errors import RequestError
from compute_ctl.decisions.apply_plan import ApplyResult
from compute_ctl.decisions.model import GOOD_OUTCOMES, Outcome
from compute_ctl.decisions.transitions import Event, Status
from compute_ctl.document.generation import Marker
from compute_ctl.node import Node
from compute_ctl.node.push import Push
from compute_ctl.ports import CatalogOutcome, CatalogRequests, CatalogResult


class Pushes:
    """Answers pushes, and has the catalog made as documents want it."""

    def __init__(self, *, node: Node, catalog: CatalogRequests | None) -> None:
        self._node = node
        self._catalog = catalog
        self._unproven: Push | None = None
        """Written while there was no Postgres to prove it, or no new session to prove its rest."""
        self._written: Marker | None = None
        """Of the generation that was written for it."""

    def proven(self) -> None:
        """What is written may run: answer the push that could not be proven at first.

        Something else may be in its place by now: then it was refused, or is superseded.
        """
        push = self._unproven
        if push is None:
            return
        if not self._is_written(push):
            self._unproven = None
            reason = self._refused(push)
            if reason:
                push.fail(_failed(reason))
            else:
                push.supersede()
        elif self._node.config.proven and not self._node.not_in_force:
            self._unproven = None
            self._succeed(push)

    def _is_written(self, push: Push) -> bool:
        """Whether what is in the live file was written for *push*."""
        written = self._node.config.written
        if written is None or written.marker == self._written:
            return True
        document = push.document
        return document is not None and document.content_sha256 == written.content_sha256

    def _refused(self, push: Push) -> str:
        """Return why the document of *push* was refused, '' if it was not."""
        content = push.document.content_sha256 if push.document is not None else ""
        entry = self._node.config.state.quarantine_entry(content)
        return entry.reason if entry else ""

    def want_catalog(
        self, document: Document | None, result: ApplyResult, *, force: bool = False
    ) -> Future[CatalogResult] | None:
        """Have the catalog made as *document* wants it, if its configuration is to be in force."""
        taken = result.outcome in GOOD_OUTCOMES or result.outcome is Outcome.UNPROVEN
        if self._catalog is None or document is None or not taken:
            return None
        return self._catalog.request(document, force=force)

    async def catalog_fits(self, push: Push) -> bool:
        """Wait for the catalog work of *push*, unless something is more urgent.

        Returns False where it failed; the status says so then.
        """
        node, catalog = self._node, push.catalog
        if catalog is not None:
            catalog.add_done_callback(lambda _: node.wake.set())
        while catalog is not None and not catalog.done():
            node.wake.clear()
            if node.terminating:
                push.supersede()
            urgent = node.pushes.current is not None or node.requests.pending or node.start.failure
            if urgent or node.terminating:
                return True
            await node.wake.wait()
        if catalog is None or catalog.result().outcome is not CatalogOutcome.FAILED:
            return True
        reason = catalog.result().reason
        node.attempts.show_error(reason)
        if node.status is not Status.CONFIGURATION:
            return True
        node.move(Event.ATTEMPT_FAILED, reason)
        return False

    def answer(self, push: Push, result: ApplyResult) -> None:
        """Tell the caller of *push* how it ended, unless that is yet to come."""
        good = result.outcome in GOOD_OUTCOMES
        if good and not self._node.not_in_force:
            self._succeed(push)
        elif good or result.outcome is Outcome.UNPROVEN:
            if self._unproven is not None:
                self._unproven.supersede()
            self._unproven = push  # proven later, or its caller's patience ends
            self._written = self._node.config.written.marker if self._node.config.written else None
        elif result.outcome is Outcome.STALE:
            push.fail(RequestError(409, result.reason))
        elif result.invalid:
            push.fail(RequestError(409 if push.document is None else 400, result.reason))
        else:
            push.fail(_failed(result.reason))

    def _succeed(self, push: Push) -> None:
        """Answer that it is in force, or fail if it is not on disk: a restart would lose it."""
        if reason := self._node.config.not_kept:
            error = f"the configuration is in force, but could not be kept: {reason}"
            push.fail(
                RequestError(500, error, hint="Free space, or mend the disk, and push again.")
            )
        else:
            push.succeed_with_catalog()


def _failed(reason: str) -> RequestError:
    return RequestError(500, f'compute configuration failed: "{reason}"')
