"""Chooses what a standby runs with while it is promoted, and what it goes back to otherwise."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from compute_common.document.document import Document, decode_document
from compute_common.document.versions import is_older
from compute_common.errors import RequestError, SpecError
from compute_common.system.blocking_worker import beside_loop
from compute_ctl.decisions.apply_plan import ApplyResult, reasons
from compute_ctl.decisions.model import PUSH, Outcome
from compute_ctl.document.body import Body
from compute_ctl.document.continuity import check_identity, check_omissions, older_safekeepers
from compute_ctl.document.promotion import following_body, promoted_document
from compute_ctl.document.render import RenderContext, Rendered, render
from compute_ctl.errors import StoreError
from compute_ctl.node import Node
from compute_ctl.reconciler.activation import Activation, ConfigUpdate, Refusal
from compute_ctl.reconciler.generations import GenerationStore
from compute_ctl.reconciler.precheck import Precheck


@dataclass(kw_only=True, eq=False)
class PromotionConfig:
    """The configurations of one node around a promotion."""

    node: Node
    store: GenerationStore
    activation: Activation
    precheck: Precheck
    context: RenderContext
    _before: ConfigUpdate | None = field(default=None, init=False)
    """What the standby ran with before it was prepared; None: by an earlier daemon, or not yet."""

    async def of_primary(self) -> Document:
        """Return the document in force as that of the primary which the standby becomes.

        Raises:
            RequestError: 412, there is none.
        """
        written = self.node.config.written
        document = await self.activation.document(written) if written is not None else None
        if document is None:
            raise RequestError(412, "no document is in force", hint="Send the new primary's.")
        return decode_document(promoted_document(document))

    async def check(self, document: Document) -> Rendered:
        """Return what *document* renders to.

        Raises:
            SpecError: it is not that of a primary of this compute.
            RequestError: 409, it is older than what is desired.
        """
        live, floor = self.node.config.live, self.node.config.state.floor
        if document.spec.mode != "Primary":
            mode = document.mode or "Static"
            raise SpecError("spec.mode", f"expected Primary for a promotion, got {mode}")
        check_identity(document.spec, live)
        if is_older(document.version, floor):
            raise RequestError(409, f"version {document.version} is older than {floor}")
        rendered = await beside_loop(
            lambda: render(document, self.context, live.candidates),
            size=len(document.json),
            name="render",
        )
        if (older := older_safekeepers(rendered.servers, live)) is not None:
            raise RequestError(409, older)
        check_omissions(document, rendered.servers, live, promotes=True)
        return rendered

    async def prepare(self, document: Document) -> ApplyResult:
        """Give the standby the settings of the primary, with which it goes on following.

        Unless the outcome is APPLIED, `go_back` is to follow.

        Raises:
            SpecError: *document* is refused; nothing was changed.
            RequestError: see `check`.
            StoreError: the disk does not answer; nothing was changed.
        """
        rendered, written = await self.check(document), self.node.config.written
        await self.store.check_referenced_files(rendered.body)
        if complaints := await self.precheck.complaints(rendered):
            raise SpecError("", reasons(complaints, places=False))
        body = following_body(rendered.body, written.body if written else "")
        self._before = await self._now()
        if self.node.config.state.quarantine_entry(document.content_sha256) is not None:
            self.node.config.lift(document)  # an earlier promotion has failed
        self.node.config.desire(document, PUSH)
        update = ConfigUpdate(
            body=body,
            document=document,
            token=rendered.storage_token,
            is_fallback=body != rendered.body,
        )
        try:
            result = await self.activation.activate(update)
        except StoreError as error:
            return ApplyResult(outcome=Outcome.WRITE_FAILED, reason=str(error))
        await self.store.save(self.node.config.state)
        return result

    async def _now(self) -> ConfigUpdate | None:
        """Return what is in the file now."""
        written = self.node.config.written
        document = await self.activation.document(written) if written is not None else None
        if written is None or document is None:
            return None
        same = written.content_sha256 == document.content_sha256
        return ConfigUpdate(
            body=written.body,
            document=replace(document, version=written.version) if same else document,
            token=await self.store.token(),
            is_fallback=written.is_fallback,
        )

    async def go_back(self, document: Document, reason: str) -> ApplyResult:
        """Bring what was in force before the preparation for *document* into force again.

        *document* is quarantined for *reason*: the source cannot bring it, another promotion can.
        """
        config = self.node.config
        try:
            before = self._before or await self._kept_before(document)
        except SpecError:  # kept by an earlier version, which took what this one refuses
            before = None
        self._before = None
        if before is None:
            config.quarantine(document, reason)
        else:
            config.go_back(before.document, instead_of=document, why=reason)
        result = await self.activation.fall_back(Refusal(reason=reason, update=before))
        await self.store.save(config.state)
        return result

    async def _kept_before(self, document: Document) -> ConfigUpdate | None:
        """Return the newest kept generation that is of another document."""
        state = self.node.config.state
        for _number, other, live in await self.store.all_kept():
            if (
                other is not None
                and other.content_sha256 != document.content_sha256
                and state.quarantine_entry(other.content_sha256) is None
            ):
                rendered = render(other, self.context, Body.read(live.body).candidates)
                return ConfigUpdate(
                    body=live.body,
                    document=other,
                    token=rendered.storage_token,
                    is_fallback=rendered.body != live.body,
                )
        return None

    def promoted(self) -> None:
        """Note that there is no way back any more."""
        self._before = None
