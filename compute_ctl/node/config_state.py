"""What the node knows of documents: which is live, which desired, which refused, and the floor.

The only writer of these parts of the node. Nothing here touches the disk: the caller saves.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from compute_common.document.spec import Document
from compute_common.document.versions import Version, raise_floor
from compute_ctl.decisions.apply_plan import Baseline
from compute_ctl.decisions.model import PUSH, Desired, Written
from compute_ctl.decisions.persistent_state import PersistentState, Quarantined, floor_of
from compute_ctl.document.body import Body
from compute_ctl.document.continuity import (
    Live,
    check_identity,
    check_omissions,
    older_safekeepers,
)
from compute_ctl.document.generation import LiveFile, Marker, map_sha256, sha256_hex
from compute_ctl.node import Node
from compute_ctl.ports import Clock

KEEP_QUARANTINED = 32
DISK = "disk"
"""Source of the document of a generation found at start: a newer one may be known."""
ROLLED_BACK = "an operator rolled it back"
"""Reason of a quarantine that a person has asked for."""


class ConfigState:
    """The documents and generations of one node."""

    def __init__(self, *, node: Node, clock: Clock) -> None:
        self._node = node
        self._clock = clock
        self._accepted: tuple[str, Version | None] | None = None
        """Content of the last document accepted, and the floor before that."""
        self._servers: Mapping[str, str] = {}
        """Those that the live file names, also where somebody has edited it."""

    def check_identity(self, document: Document) -> None:
        """Refuse another tenant's document on a live compute. Raises SpecError."""
        check_identity(document.spec, self._live())

    def check_omissions(self, document: Document, servers: Mapping[str, str]) -> None:
        """Refuse a document that lacks what the compute has; *servers* are those it names.

        Raises SpecError.
        """
        check_omissions(document, servers, self._live())

    def older_safekeepers(self, servers: Mapping[str, str]) -> str | None:
        """Return why the safekeepers among *servers* are older than those in force."""
        return older_safekeepers(servers, self._live())

    def _live(self) -> Live:
        node = self._node
        return Live(
            tenant=node.tenant,
            timeline=node.timeline,
            servers=self._servers,
            mode=node.desired.mode if node.desired is not None else None,
        )

    def read_identity(self, body: str) -> Body:
        """Take tenant, timeline and servers from *body*, which is in the live file."""
        found = Body.read(body)
        self._servers = found.servers
        self._node.tenant, self._node.timeline = found.tenant_id, found.timeline_id
        return found

    def record_live(
        self,
        marker: Marker,
        body: str,
        document: Document | None,
        *,
        is_fallback: bool = False,
        changed: frozenset[str] = frozenset(),
        may_start: bool = True,
    ) -> None:
        """Record what is in the live file.

        *document* is None where the body mixes two documents. *changed*: see `Written`;
        *may_start*: see `Node.now_written`.
        """
        found = self.read_identity(body)
        published = map_sha256(marker, stripe_size=found.stripe_size, shards=found.shards)
        written = Written(
            marker=marker,
            rest=found.rest,
            upstream=found.upstream,
            at=self._clock.wall(),
            content_sha256=document.content_sha256 if document else "",
            version=document.version if document else None,
            names=found.names,
            servers=found.servers,
            map_sha256=published if found.shards else "",
            is_fallback=is_fallback,
            changed=changed,
        )
        self._node.now_written(written, may_start=may_start)

    def restore(self, state: PersistentState, live: LiveFile | None) -> None:
        """Take over *state* of an earlier daemon, with the floor that the live file names."""
        self._node.state = state if live is None else floor_of(live, state)
        self._node.state_kept(state)

    def baseline(self, document: Document, source: str) -> Baseline:
        """Return what *document*, which came from *source*, is compared with."""
        state = self._node.state
        return Baseline(
            written=self._node.written,
            desired=self._node.desired,
            floor=state.floor,
            quarantined=self._entry(document),
            worker_complains=self._node.requests.worker_complains,
            seen_before=source != PUSH
            and document.version is None
            and state.last_pull.get(source) == document.content_sha256,
        )

    def is_desired(self, document: Document) -> bool:
        """Whether *document* is the one desired, in this version."""
        desired = self._node.desired
        return (
            desired is not None
            and desired.content_sha256 == document.content_sha256
            and desired.version == document.version
        )

    def desire(self, document: Document, source: str, *, generation: int | None = None) -> None:
        """Make *document* the one desired, and its version the floor."""
        node = self._node
        node.features = frozenset(document.spec.features)
        node.suspend_timeout_s = document.spec.suspend_timeout_seconds
        node.desired = Desired(
            content_sha256=document.content_sha256,
            version=document.version,
            at=self._clock.wall(),
            source=source,
            generation=generation,
            mode=document.mode,
        )
        if source == DISK:
            self._accepted = None
        elif self._accepted is None or self._accepted[0] != document.content_sha256:
            self._accepted = document.content_sha256, node.state.floor
        config = node.state.ctl_config if source == DISK else None
        refused = source == DISK and self._entry(document) is not None
        node.state = msgspec.structs.replace(
            node.state,
            floor=node.state.floor if refused else raise_floor(node.state.floor, document.version),
            ctl_config=config or document.compute_ctl_config,
        )

    def go_back(self, document: Document, *, instead_of: Document) -> None:
        """Make *document*, which is older, the one desired; the other is not taken again."""
        self.quarantine(instead_of, ROLLED_BACK, servers_too=True)
        self._node.state = msgspec.structs.replace(self._node.state, floor=None)
        self.desire(document, "rollback")

    def remember_pull(self, document: Document, source: str) -> None:
        """Remember the last document of *source*, so that the same one is not applied again."""
        last_pull = self._node.state.last_pull | {source: document.content_sha256}
        self._node.state = msgspec.structs.replace(self._node.state, last_pull=last_pull)

    def quarantine(
        self,
        document: Document,
        reason: str,
        *,
        servers_too: bool = False,
        unfinished: bool = False,
        rest: str | None = None,
    ) -> None:
        """Remember that this content was refused; the floor goes back to what it was before.

        *rest* is no fallback any more: it was refused, though it may have been proven before.
        """
        state = self._node.state
        if rest is not None:
            state = state.without_rest(sha256_hex(rest))
        entry = Quarantined(
            content_sha256=document.content_sha256,
            reason=reason,
            at=self._clock.wall(),
            version=document.version,
            operation_uuid=document.operation_uuid,
            servers_too=servers_too,
            unfinished=unfinished,
        )
        # So that the version before the refused one is welcome, and none before that or before what
        # runs: its servers are newer. Where an earlier daemon accepted the refused one, the floor
        # becomes the version of what runs; an unversioned configuration leaves it as it is.
        applied = state.applied.version if state.applied else None
        floor = applied or state.floor
        if self._accepted is not None and self._accepted[0] == document.content_sha256:
            floor = raise_floor(self._accepted[1], applied)
        others = [e for e in state.quarantine if e.content_sha256 != entry.content_sha256]
        self._node.state = msgspec.structs.replace(
            state,
            quarantine=(*others, entry)[-KEEP_QUARANTINED:],
            floor=floor,
        )

    def lift(self, document: Document) -> None:
        """Remove a document from quarantine: Postgres starts with no other either."""
        state = self._node.state
        left = [e for e in state.quarantine if e.content_sha256 != document.content_sha256]
        self._node.state = msgspec.structs.replace(
            state, quarantine=tuple(left), floor=raise_floor(state.floor, document.version)
        )

    def _entry(self, document: Document) -> Quarantined | None:
        for entry in self._node.state.quarantine:
            if entry.content_sha256 == document.content_sha256:
                return entry
        return None
