"""Chooses what replaces a refused document.

The *rest* comes from the newest generation proven in full, the servers from the newest document: a
bad value costs itself and never the heal. `Activation.fall_back` brings the choice into force.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import Final

from compute_common.document.document import Document
from compute_common.document.versions import is_older
from compute_common.errors import SpecError
from compute_ctl.decisions.apply_plan import GoodBody, fallback_body, reasons
from compute_ctl.decisions.persistent_state import Quarantined
from compute_ctl.decisions.proof import Complaint
from compute_ctl.document.body import Body, split_body
from compute_ctl.document.continuity import check_omissions, older_safekeepers
from compute_ctl.document.render import RenderContext, Rendered, render_upstream
from compute_ctl.document.spec_sources import UPSTREAM_SETTINGS
from compute_ctl.node import Node
from compute_ctl.reconciler.activation import Activation, ConfigUpdate, Refusal
from compute_ctl.reconciler.generations import GenerationStore

logger = logging.getLogger(__name__)

WAY_OUT: Final = 'a newer version or "compute_ctl refresh --force" tries again'
"""What ends a quarantine."""


@dataclass(kw_only=True, eq=False)
class Fallback:
    """Quarantines what is refused, and chooses what replaces it."""

    node: Node
    store: GenerationStore
    activation: Activation
    context: RenderContext

    async def refuse(
        self, document: Document, rendered: Rendered, bad: tuple[Complaint, ...]
    ) -> Refusal:
        """Quarantine *document*; it is replaced with a good generation."""
        reason = reasons(bad, places=False)
        logger.error("configuration refused: %s", reason)
        self.node.config.refused_servers.note(document, rendered.upstream)
        self.node.config.quarantine(
            document,
            reason,
            servers_too=any(complaint.name in UPSTREAM_SETTINGS for complaint in bad),
            unfinished=all(complaint.unfinished for complaint in bad),
            rest=rendered.rest,
        )
        good = await self._good(instead_of=rendered.rest)
        body = fallback_body(upstream=rendered.upstream, bad=bad, good=good)
        if body is None:
            return Refusal(reason=reason, broken=True)
        return Refusal(reason=reason, update=_fallback(body, document, rendered.storage_token))

    async def refuse_again(
        self, document: Document, rendered: Rendered, entry: Quarantined
    ) -> Refusal:
        """Keep a quarantined document out, but not its servers while the old ones are dead.

        The fallback that brings them may have failed on a full disk.
        """
        self.node.config.refused_servers.note(document, rendered.upstream)
        since = entry.at.strftime("%Y-%m-%d %H:%M:%S %Z")
        reason = f"quarantined since {since}: {entry.reason}; {WAY_OUT}"
        written, good = self.node.config.written, await self._good()
        if (
            written is None
            or good is None
            or entry.servers_too
            or written.upstream == rendered.upstream
            or not self.node.requests.worker_complains
        ):
            return Refusal(reason=reason)
        body = good.rest + rendered.upstream
        return Refusal(reason=reason, update=_fallback(body, document, rendered.storage_token))

    async def apply_upstream_only(self, document: Document, error: SpecError) -> Refusal:
        """Refuse a document that cannot be rendered; its servers are used while Postgres suffers.

        While it does not, nothing is changed for a bad document.
        """
        refusal = Refusal(reason=str(error), invalid=True)
        try:
            live = self.node.config.live.candidates
            upstream, token = render_upstream(document, self.context, live)
        except SpecError:
            return refusal
        self.node.config.refused_servers.note(document, upstream)
        good = await self._good()
        suffers = self.node.requests.worker_complains
        if good is None or not suffers or is_older(document.version, self.node.config.state.floor):
            return refusal
        try:
            servers = Body.read(good.rest + upstream).servers
            check_omissions(document, servers, self.node.config.live)
        except SpecError:
            return refusal
        if older_safekeepers(servers, self.node.config.live) is not None:
            return refusal
        mode = self.node.config.live.mode or document.mode  # of the settings that stay
        self.node.config.desire(replace(document, mode=mode), "refused")
        self.node.config.quarantine(document, str(error))
        update = _fallback(good.rest + upstream, document, token)
        return Refusal(reason=str(error), update=update, invalid=True)

    async def _good(self, *, instead_of: str | None = None) -> GoodBody | None:
        """Return what to go back to while Postgres runs: the newest rest proven in full.

        Not *instead_of*, a rest that is refused now and may have been proven.

        A server need not have come up with it: where nothing but reloads has happened for months,
        the last one that a server came up with is months old.
        """
        fact = self.node.config.state.fallback
        kept = await self.store.kept(fact.generation) if fact else None
        if kept is not None:
            rest, upstream = split_body(kept[1].body)
            return GoodBody(rest=rest, upstream=upstream)
        # Its files are gone, or none was proven in full: take what ran last.
        written = self.node.config.written if self.node.config.proven else None
        for ran in (written, self.activation.previous):
            if ran is not None and ran.rest != instead_of:
                return GoodBody(rest=ran.rest, upstream=ran.upstream)
        return None


def _fallback(body: str, document: Document, token: str | None) -> ConfigUpdate:
    return ConfigUpdate(body=body, document=document, token=token, is_fallback=True)
