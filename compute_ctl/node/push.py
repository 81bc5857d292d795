"""Pushed documents and rollbacks, and the callers who wait for them."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from compute_common.document.document import Document, decode_document
from compute_common.errors import ComputeError, RequestError
from compute_common.system.blocking_worker import beside_loop
from compute_ctl.decisions.transitions import Event
from compute_ctl.node.status_machine import StatusMachine
from compute_ctl.ports import CatalogOutcome, CatalogResult


class Push:
    """A pushed document or a rollback; its first result counts."""

    def __init__(self, *, document: Document | None, who: str, old_upstream: bool = False) -> None:
        self.document = document
        """None: roll back to the generation before the one applied."""
        self.who = who
        self.old_upstream = old_upstream
        """With a rollback: take the servers of that generation, not the newest."""
        self.catalog: asyncio.Future[CatalogResult] | None = None
        """The result of its work on roles and databases; None: there is none."""
        self._done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def over(self) -> bool:
        """Whether the caller has been answered."""
        return self._done.done()

    def succeed(self) -> None:
        """Tell the caller that the document is in force."""
        if not self.over:
            self._done.set_result(None)

    def succeed_with_catalog(self) -> None:
        """Answer the caller when its catalog work has ended, too."""
        if self.catalog is None:
            self.succeed()
        else:
            self.catalog.add_done_callback(self._catalog_ended)

    def _catalog_ended(self, catalog: asyncio.Future[CatalogResult]) -> None:
        if catalog.cancelled() or catalog.result().outcome is CatalogOutcome.SUPERSEDED:
            self.supersede()
        elif catalog.result().good:
            self.succeed()
        else:
            reason = catalog.result().reason
            self.fail(RequestError(500, f'compute configuration failed: "{reason}"'))

    def fail(self, error: ComputeError) -> None:
        """Tell the caller why it is not."""
        if not self.over:
            self._done.set_exception(error)

    def supersede(self) -> None:
        """Tell the caller that a newer push took its place."""
        self.fail(RequestError(409, "the configuration was superseded"))

    async def wait(self, timeout_s: float) -> None:
        """Wait for the end; raises what `fail` was given, or RequestError 504."""
        try:
            await asyncio.wait_for(asyncio.shield(self._done), timeout_s)
        except TimeoutError:
            raise RequestError(
                504,
                f"the configuration was not proven within {timeout_s:g} s",
                hint="The work goes on; see /status.",
            ) from None
        finally:
            if self._done.done():
                with suppress(ComputeError):
                    self._done.result()  # retrieve the exception, so that asyncio does not log it


class PushRequests:
    """The pushes of one node; a newer one takes the place of the one before."""

    def __init__(self, machine: StatusMachine) -> None:
        self._machine = machine
        self.current: Push | None = None
        """The one that the reconciler has not finished."""

    async def configure(self, raw: bytes, *, who: str, timeout_s: float = 300.0) -> None:
        """Apply a pushed document and wait until it is proven.

        Raises:
            SpecError: the document is refused.
            RequestError: 409 older or superseded, 412 terminating, 500 failed, 504 too late.
        """
        self._machine.refuse_terminating()
        document = await beside_loop(lambda: decode_document(raw), size=len(raw), name="document")
        self._machine.refuse_terminating()
        push = Push(document=document, who=who)
        await self._carry_out(push, f"{who} pushes a configuration", timeout_s)

    async def roll_back(self, *, who: str, old_upstream: bool, timeout_s: float = 300.0) -> None:
        """Quarantine the applied document, and wait until the one before it is proven.

        *old_upstream*: also take back its servers, which may be dead; else the newest ones stay.

        Raises:
            RequestError: 409 there is nothing to go back to, or superseded; else as `configure`.
        """
        self._machine.refuse_terminating()
        push = Push(document=None, who=who, old_upstream=old_upstream)
        await self._carry_out(push, f"{who} asks for a rollback", timeout_s)

    async def _carry_out(self, push: Push, why: str, timeout_s: float) -> None:
        self.supersede()
        self.current = push
        self._machine.move(Event.CONFIGURE, why)
        self._machine.wake.set()
        await push.wait(timeout_s)

    def supersede(self) -> None:
        """Tell the caller of the current push that something newer takes its place."""
        if self.current is not None:
            self.current.supersede()

    def finish(self, push: Push) -> None:
        """Forget *push*, unless another has taken its place."""
        if self.current is push:
            self.current = None
