"""What the node knows of documents: which is live, which desired, which refused, and the floor.

Nothing here touches the disk: the caller saves.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import msgspec

from compute_common.document.document import Document
from compute_common.document.spec import ComputeCtlConfig, ComputeSpec
from compute_common.document.versions import Version, raise_floor
from compute_ctl.decisions.apply_plan import Baseline
from compute_ctl.decisions.model import PUSH, Desired, Written
from compute_ctl.decisions.persistent_state import PersistentState, Quarantined, floor_of, is_same
from compute_ctl.decisions.proof import Proof, Verdict
from compute_ctl.document.body import Body
from compute_ctl.document.continuity import Live
from compute_ctl.document.generation import LiveFile, Marker, map_sha256, sha256_hex
from compute_ctl.node.refused_servers import RefusedServers
from compute_ctl.ports import Clock

DISK = "disk"
"""Source of the document of a generation found at start: a newer one may be known."""
ROLLED_BACK = "an operator rolled it back"
"""Reason of a quarantine that a person has asked for."""


class ConfigState:
    """The documents and generations of one node; only its own methods write the fields."""

    def __init__(self, clock: Clock, document_file: str | None = None) -> None:
        self._clock = clock
        self.document_file = document_file
        self.state = PersistentState()
        self._kept: PersistentState | None = None
        self.not_kept = ""
        """Why the disk did not take the state shown, or the document of what is in force."""
        self.written: Written | None = None
        """The generation in the live file."""
        self.verdict: Verdict | None = None
        """What was seen last of what Postgres runs."""
        self.sessions_rest: str | None = None
        """The rest of the last generation that a new session has run with; None: unknown."""
        self.tenant: str | None = None
        self.timeline: str | None = None
        self._servers: Mapping[str, str] = {}
        """Those that the live file names, also where somebody has edited it."""
        self.desired: Desired | None = None
        self.refused_servers = RefusedServers()
        self.spec: ComputeSpec | None = None
        """Of the newest accepted document."""
        self.document_warnings: tuple[str, ...] = ()
        """What looks wrong in the newest document."""
        self._accepted: tuple[str, Version | None] | None = None
        """Content of the last document accepted, and the floor before that."""

    # The live file

    @property
    def proven(self) -> bool:
        """Whether Postgres runs what is in the live file."""
        return self.written is not None and self.written.proven

    @property
    def rest_is_new(self) -> bool:
        """Whether the file has another rest than the last one that a new session has run with."""
        rest = self.written.rest if self.written is not None else None
        return self.sessions_rest is not None and rest is not None and rest != self.sessions_rest

    @property
    def live(self) -> Live:
        """What `document.continuity` compares a document with."""
        return Live(
            tenant=self.tenant,
            timeline=self.timeline,
            servers=self._servers,
            candidates=self.written.candidates if self.written is not None else None,
            mode=self.desired.mode if self.desired is not None else None,
        )

    def read_identity(self, body: str) -> Body:
        """Take tenant, timeline and servers from *body*, which is in the live file."""
        found = Body.read(body)
        self._servers = found.servers
        self.tenant, self.timeline = found.tenant_id, found.timeline_id
        return found

    def describe(
        self,
        marker: Marker,
        body: str,
        document: Document | None,
        *,
        is_fallback: bool = False,
        changed: frozenset[str] = frozenset(),
    ) -> Written:
        """Return what is known of *body*, which is in the live file, for `Node.now_written`.

        *document* is None where the body mixes two documents. *changed*: see `Written`.
        """
        found = self.read_identity(body)
        published = map_sha256(marker, stripe_size=found.stripe_size, shards=found.shards)
        return Written(
            marker=marker,
            rest=found.rest,
            upstream=found.upstream,
            at=self._clock.wall(),
            content_sha256=document.content_sha256 if document else "",
            version=document.version if document else None,
            names=found.names,
            servers=found.servers,
            included=found.included,
            candidates=found.candidates,
            map_sha256=published if found.shards else "",
            is_fallback=is_fallback,
            changed=changed,
        )

    def now_written(self, written: Written) -> None:
        """Record that *written* is in the live file."""
        generation = written.marker.generation
        self.written = written
        self.state = msgspec.structs.replace(self.state, live_generation=generation)
        if self.desired is not None and not written.is_fallback:
            self.desired = replace(self.desired, generation=generation)

    def now_has_version(self, version: Version | None) -> None:
        """Record that the same content as in the live file has come in another *version*."""
        if self.written is not None:
            self.written = replace(self.written, version=version)
            self.state = self.state.with_version(str(self.written.marker), version)

    def proved(self, verdict: Verdict) -> None:
        """Record that the generation in the live file runs.

        Its rest replaces refused ones from now on only if nothing in it is doubtful. It becomes the
        last known good one if a server came up with it, too.
        """
        if self.written is None:
            raise ValueError("nothing was written that could be proven")
        self.looked(verdict)
        in_full = verdict.proof is Proof.FULL
        if in_full:
            self.sessions_rest = self.written.rest
        self.written = replace(self.written, proven=True, in_full=in_full or self.written.in_full)
        fact = self.written.ref(self._clock.wall())
        self.state = self.state.proven(fact, good=in_full and not verdict.waits)

    def looked(self, verdict: Verdict) -> None:
        """Record what a check has found; one that saw nothing keeps what was seen before."""
        seen = self.verdict
        self.verdict = verdict.seeing(seen) if verdict.blind and seen is not None else verdict

    def came_up(self, written: Written) -> bool:
        """Record that a server came up with *written*; return whether that is last known good."""
        fact = written.ref(self._clock.wall())
        self.state = self.state.came_up(fact)
        return is_same(self.state.last_known_good, fact)

    # The state

    @property
    def shown(self) -> PersistentState:
        """The state as far as a daemon that starts after a crash would know it, too."""
        return self.state if self._kept is None else self._kept

    def state_kept(self, state: PersistentState, reason: str = "") -> None:
        """Show *state* from now on: it is on disk, or for *reason* cannot be kept there now."""
        self._kept, self.not_kept = state, reason

    @property
    def ctl_config(self) -> ComputeCtlConfig:
        """What the newest document accepted says for the daemon itself: who may sign tokens."""
        return self.state.ctl_config or ComputeCtlConfig()

    def catalog_done(
        self, *, sha256: str, operation: str, subscriptions_dropped_for: str | None
    ) -> None:
        """Record that the catalog was made as a document wants it; see `PersistentState`."""
        self.state = self.state.catalog_done(
            sha256=sha256,
            operation=operation,
            subscriptions_dropped_for=subscriptions_dropped_for,
        )

    def restore(self, state: PersistentState, live: LiveFile | None) -> None:
        """Take over *state* of an earlier daemon, with the floor that the live file names."""
        self.state = state if live is None else floor_of(live, state)
        self.state_kept(state)

    # Documents

    def baseline(self, document: Document, source: str, *, worker_complains: bool) -> Baseline:
        """Return what *document*, which came from *source*, is compared with."""
        state = self.state
        return Baseline(
            written=self.written,
            desired=self.desired,
            floor=state.floor,
            quarantined=self.state.quarantine_entry(document.content_sha256),
            worker_complains=worker_complains,
            seen_before=source != PUSH
            and document.version is None
            and state.last_pull.get(source) == document.content_sha256,
        )

    def is_desired(self, document: Document) -> bool:
        """Whether *document* is the one desired, in this version."""
        desired = self.desired
        return (
            desired is not None
            and desired.content_sha256 == document.content_sha256
            and desired.version == document.version
        )

    def desire(self, document: Document, source: str, *, generation: int | None = None) -> None:
        """Make *document* the one desired, and its version the floor."""
        self.spec = document.spec
        self.desired = Desired(
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
            self._accepted = document.content_sha256, self.state.floor
        known = self.state if source == DISK else PersistentState()
        refused = known.quarantine_entry(document.content_sha256) is not None
        self.state = msgspec.structs.replace(
            self.state,
            floor=self.state.floor if refused else raise_floor(self.state.floor, document.version),
            ctl_config=known.ctl_config or document.compute_ctl_config,
        )

    def go_back(self, document: Document, *, instead_of: Document, why: str = ROLLED_BACK) -> None:
        """Make *document*, which is older, the one desired; the other is not taken again."""
        self.quarantine(instead_of, why, servers_too=True)
        self.state = msgspec.structs.replace(self.state, floor=None)
        self.desire(document, "rollback")

    def remember_pull(self, document: Document, source: str) -> None:
        """Remember the last document of *source*, so that the same one is not applied again."""
        last_pull = self.state.last_pull | {source: document.content_sha256}
        self.state = msgspec.structs.replace(self.state, last_pull=last_pull)

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
        state = self.state
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
        self.state = state.with_quarantined(entry, floor)

    def lift(self, document: Document) -> None:
        """Remove a document from quarantine: Postgres starts with no other either."""
        state = self.state.without_quarantined(document.content_sha256)
        floor = raise_floor(state.floor, document.version)
        self.state = msgspec.structs.replace(state, floor=floor)

    def warn_of_document(self, warnings: tuple[str, ...]) -> tuple[str, ...]:
        """Show *warnings* about the newest document; return those that are new."""
        before, self.document_warnings = self.document_warnings, warnings
        return tuple(warning for warning in warnings if warning not in before)
