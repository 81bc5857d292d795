"""What follows when a document is refused: quarantine, and something good in its place.

The *rest* comes from the newest generation proven in full, the servers from the newest document: a
bad value costs itself and never the heal.
"""

from __future__ import annotations

import logging
from typing import Final

from compute_ctl.decisions.apply_plan import ApplyResult, fallback_body, reasons
from compute_ctl.decisions.model import PUSH, Outcome
from compute_ctl.decisions.persistent_state import Quarantined
from compute_ctl.decisions.proof import Complaint
from compute_ctl.document.body import Body
from compute_ctl.document.generation import sha256_hex
from compute_ctl.document.render import Rendered, render_upstream
from compute_ctl.document.spec import Document
from compute_ctl.document.spec_sources import UPSTREAM_SETTINGS
from compute_ctl.document.versions import is_older
from compute_ctl.errors import SpecError, StoreError
from compute_ctl.reconciler.budget import bounded
from compute_ctl.reconciler.means import Means
from compute_ctl.settings import Deadlines

logger = logging.getLogger(__name__)

WAY_OUT: Final = 'a newer version or "compute_ctl refresh --force" tries again'
"""What ends a quarantine."""


class Refusals:
    """Keeps what was refused out, and what was good in force."""

    def __init__(self, means: Means, *, deadlines: Deadlines) -> None:
        self._node, self._store, self._config = means.node, means.store, means.config
        self._verifier, self._installer, self._context = (
            means.verifier,
            means.installer,
            means.context,
        )
        self._deadlines = deadlines

    async def refuse(
        self, document: Document, rendered: Rendered, bad: tuple[Complaint, ...]
    ) -> ApplyResult:
        """Quarantine the document, and bring a good generation (back) into force."""
        reason = reasons(bad, places=False)
        logger.error("configuration refused: %s", reason)
        servers_too = any(complaint.name in UPSTREAM_SETTINGS for complaint in bad)
        unfinished = all(complaint.unfinished for complaint in bad)
        self._config.quarantine(document, reason, servers_too=servers_too, unfinished=unfinished)
        self._node.state = self._node.state.without_rest(sha256_hex(rendered.rest))
        good = await self._installer.good(instead_of=rendered.rest)
        body = fallback_body(upstream=rendered.upstream, bad=bad, good=good)
        return await self.fall_back_to(body, document, rendered.storage_token, reason)

    async def refuse_again(
        self, document: Document, rendered: Rendered, entry: Quarantined
    ) -> ApplyResult:
        """Keep a refused document out, but not the servers it names while the old ones are dead.

        The fallback that brings them may have failed on a full disk.
        """
        since = entry.at.strftime("%Y-%m-%d %H:%M:%S %Z")
        reason = f"quarantined since {since}: {entry.reason}; {WAY_OUT}"
        written, good = self._node.written, await self._installer.good()
        if (
            written is None
            or good is None
            or entry.servers_too
            or written.upstream == rendered.upstream
            or not self._node.requests.worker_complains
        ):
            return ApplyResult(outcome=Outcome.REJECTED, reason=reason)
        body = good.rest + rendered.upstream
        return await self.fall_back_to(body, document, rendered.storage_token, reason)

    async def salvage(self, document: Document, error: SpecError) -> ApplyResult:
        """Save the upstream part of a document of which the rest cannot be written.

        Only while Postgres itself suffers: else bad input is refused without touching anything.
        """
        known = self._config.known(document, PUSH)
        good = await self._installer.good()
        result = ApplyResult(outcome=Outcome.REJECTED, reason=str(error), invalid=True)
        suffers = self._node.requests.worker_complains
        if good is None or not suffers or is_older(document.version, known.floor):
            return result
        try:
            upstream, token = render_upstream(document, self._context)
            servers = Body.read(good.rest + upstream).servers
            self._config.check_omissions(document, servers)
        except SpecError:
            return result
        if self._config.older_safekeepers(servers) is not None:
            return result
        self._config.desire(document, "refused")
        self._config.quarantine(document, str(error))
        body = good.rest + upstream
        return await self.fall_back_to(body, document, token, str(error), invalid=True)

    async def fall_back_to(
        self,
        body: str | None,
        document: Document,
        token: str | None,
        reason: str,
        *,
        invalid: bool = False,
    ) -> ApplyResult:
        """Bring *body* into force in place of a refused document."""
        if body is None:
            return ApplyResult(outcome=Outcome.REJECTED, reason=reason, broken=True)
        if self._node.written is not None and self._node.written.body == body:
            return ApplyResult(outcome=Outcome.REJECTED, reason=reason, invalid=invalid)
        with bounded(self._deadlines.fallback):
            return await self._instead(body, document, token, reason, invalid=invalid)

    async def _instead(
        self, body: str, document: Document, token: str | None, reason: str, *, invalid: bool
    ) -> ApplyResult:
        try:
            await self._installer.install(body, document, token, is_fallback=True)
        except StoreError as error:
            reason = f"{reason}; the fallback could not be written: {error}"
            return ApplyResult(outcome=Outcome.REJECTED, reason=reason, broken=True)
        verdict = await self._verifier.verify(within_s=self._deadlines.fallback)
        await self._store.sync()
        if verdict.rejected:
            reason = f"{reason}; the fallback too: {reasons(verdict.bad, places=False)}"
            return ApplyResult(outcome=Outcome.REJECTED, reason=reason, broken=True)
        self._installer.conclude(verdict)
        await self._store.save(self._node.state)
        return ApplyResult(outcome=Outcome.REJECTED, reason=reason, invalid=invalid)
