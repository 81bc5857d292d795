"""The content of state.json, and what follows from it at start. Pure."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Final

import msgspec

from compute_common.document.spec import ComputeCtlConfig
from compute_common.document.versions import Version
from compute_ctl.document.generation import LiveFile, Marker

KEPT_OPERATIONS: Final = 100
KEEP_QUARANTINED: Final = 32


class GenerationRef(msgspec.Struct, frozen=True, kw_only=True):
    """A generation that is applied, started or last known good."""

    generation: int
    marker: str
    """The marker in its file."""
    content_sha256: str
    """Content hash of its document (see `spec.Document`)."""
    at: datetime
    """Since when it is applied, started or last known good."""
    version: Version | None = None
    rest_sha256: str = ""
    """Hash of the rest of the file, without the servers; '' in a state of an earlier version."""
    in_full: bool = False
    """A new session has run with it; else only its servers are acknowledged by the worker."""


class Quarantined(msgspec.Struct, frozen=True, kw_only=True):
    """A document that Postgres, or an operator, has refused."""

    content_sha256: str
    reason: str
    at: datetime
    version: Version | None = None
    operation_uuid: str | None = None
    servers_too: bool = False
    """The servers it names were refused, too, not only the rest."""
    unfinished: bool = False
    """Its check did not end in time, perhaps only because the machine was busy."""


class PersistentState(msgspec.Struct, frozen=True, kw_only=True):
    """What must survive the daemon: the content of state.json."""

    compute_id: str = ""
    system_identifier: str = ""
    """Of the cluster; it detects a state folder that was copied with another data directory."""
    data_dir_inode: str = ""
    """``device:inode`` of the data directory."""
    applied: GenerationRef | None = None
    started: GenerationRef | None = None
    """The newest generation that a server came up with."""
    last_known_good: GenerationRef | None = None
    """The newest generation that is both proven in full and started."""
    proven_rests: tuple[GenerationRef, ...] = ()
    """At most two generations, with different rests, the newest last: proven in full, and nothing
    waits for a restart. The newest replaces a refused rest; the one before it does where the
    refused rest is the newest itself."""
    floor: Version | None = None
    """No document older than this is taken."""
    live_generation: int = 0
    """The generation in the live file when this was saved; 0: not known."""
    last_pull: dict[str, str] = {}
    """Content hash of the last document pulled, by source name."""
    quarantine: tuple[Quarantined, ...] = ()
    ctl_config: ComputeCtlConfig | None = None
    """The part of the newest accepted document that configures the daemon; `g/` has that document
    only where it became a generation of its own."""
    catalog_sha256: str = ""
    """Hash of the roles, databases and extensions that were made last."""
    done_operations: tuple[str, ...] = ()
    """Operations whose delta operations were carried out; the newest last."""
    subscriptions_dropped_for: str = ""
    """The timeline in which the subscriptions inherited from its parent were dropped."""

    def proven(self, ref: GenerationRef, *, good: bool) -> PersistentState:
        """Return the state with *ref* applied.

        *good*: it is proven in full, and nothing waits for a restart. If a server has started with
        it, too, it becomes the last known good one. A generation that is applied already keeps its
        time.
        """
        known = self.applied
        if known is not None and known.marker == ref.marker:
            # A document that differs elsewhere, say in its roles, may have the same file.
            same = ref.content_sha256 in ("", known.content_sha256)
            in_full, version = ref.in_full or known.in_full, ref.version or known.version
            ref = known if same else ref
            ref = msgspec.structs.replace(ref, in_full=in_full, version=version)
        state = msgspec.structs.replace(self, applied=ref)
        if not good:
            return state
        others = [one for one in self.proven_rests if one.rest_sha256 != ref.rest_sha256]
        state = msgspec.structs.replace(state, proven_rests=(*others[-1:], ref))
        return _with_good(state, ref) if is_same(self.started, ref) else state

    def came_up(self, ref: GenerationRef) -> PersistentState:
        """Return the state with *ref* as the generation that a server started with."""
        state = msgspec.structs.replace(self, started=ref)
        for proven in self.proven_rests:
            if is_same(proven, ref):
                return _with_good(state, proven)
        return state

    def with_version(self, marker: str, version: Version | None) -> PersistentState:
        """Return the state with *version* for the generation of *marker*."""

        def renamed(ref: GenerationRef) -> GenerationRef:
            is_it = ref.marker == marker
            return msgspec.structs.replace(ref, version=version) if is_it else ref

        refs = {
            name: renamed(ref)
            for name in ("applied", "started", "last_known_good")
            if (ref := getattr(self, name)) is not None
        }
        rests = tuple(map(renamed, self.proven_rests))
        return msgspec.structs.replace(self, **refs, proven_rests=rests)

    def quarantine_entry(self, content_sha256: str) -> Quarantined | None:
        """Return the entry of a document in quarantine."""
        same = (entry for entry in self.quarantine if entry.content_sha256 == content_sha256)
        return next(same, None)

    def with_quarantined(self, entry: Quarantined, floor: Version | None) -> PersistentState:
        """Return the state with *entry* as its newest, and *floor*."""
        others = self.without_quarantined(entry.content_sha256).quarantine
        quarantine = (*others, entry)[-KEEP_QUARANTINED:]
        return msgspec.structs.replace(self, quarantine=quarantine, floor=floor)

    def without_quarantined(self, content_sha256: str) -> PersistentState:
        """Return the state without a document in quarantine."""
        left = tuple(one for one in self.quarantine if one.content_sha256 != content_sha256)
        return msgspec.structs.replace(self, quarantine=left)

    def without_rest(self, rest_sha256: str) -> PersistentState:
        """Return the state without a rest that was refused, which is no fallback any more."""
        left = tuple(one for one in self.proven_rests if one.rest_sha256 != rest_sha256)
        return msgspec.structs.replace(self, proven_rests=left)

    def catalog_done(
        self, *, sha256: str, operation: str, subscriptions_dropped_for: str | None
    ) -> PersistentState:
        """Return the state after the catalog was made as a document wants it; see the fields."""
        done = self.done_operations
        if operation and operation not in done:
            done = (*done, operation)[-KEPT_OPERATIONS:]
        return msgspec.structs.replace(
            self,
            catalog_sha256=sha256,
            done_operations=done,
            subscriptions_dropped_for=subscriptions_dropped_for or self.subscriptions_dropped_for,
        )

    @property
    def fallback(self) -> GenerationRef | None:
        """The generation whose rest replaces a refused one while the server runs."""
        return self.proven_rests[-1] if self.proven_rests else None

    @property
    def named(self) -> tuple[GenerationRef, ...]:
        """All generations that the state names; their copies must be kept."""
        refs = (self.applied, self.started, self.last_known_good, *self.proven_rests)
        return tuple(ref for ref in refs if ref is not None)

    @property
    def migrated(self) -> PersistentState:
        """The state, converted from releases in which last known good meant proven in full.

        They did not record whether a server had started with that generation.
        """
        if self.last_known_good is None or self.started is not None or self.proven_rests:
            return self
        proven = (self.last_known_good,)
        return msgspec.structs.replace(self, last_known_good=None, proven_rests=proven)


def _with_good(state: PersistentState, ref: GenerationRef) -> PersistentState:
    return msgspec.structs.replace(state, last_known_good=ref)


def is_same(one: GenerationRef | None, other: GenerationRef) -> bool:
    """Whether *one* is the same generation as *other*."""
    return one is not None and one.marker == other.marker


class ClusterIdentity(msgspec.Struct, frozen=True, kw_only=True):
    """Which compute and which data directory a state folder belongs to."""

    compute_id: str
    system_identifier: str
    """Empty while there is no cluster."""
    data_dir_inode: str

    def matches(self, state: PersistentState) -> bool:
        """Whether *state* is of this cluster; a state without identity matches any cluster.

        Neither a cluster that is yet to be made nor a state from before that has an identifier.
        """
        if not (state.system_identifier or state.data_dir_inode):
            return True
        known = state
        if not state.system_identifier:
            known = msgspec.structs.replace(state, system_identifier=self.system_identifier)
        return self.stamp(known) == known

    def differs(self, state: PersistentState) -> str:
        """Return how the identity in *state* differs, for people."""
        pairs = (
            ("compute ID", state.compute_id, self.compute_id),
            ("system identifier", state.system_identifier, self.system_identifier),
            ("device and inode of the data directory", state.data_dir_inode, self.data_dir_inode),
        )
        return ", ".join(f'{name} "{old}" is now "{new}"' for name, old, new in pairs if old != new)

    def stamp(self, state: PersistentState) -> PersistentState:
        """Return *state* with this identity."""
        return msgspec.structs.replace(
            state,
            compute_id=self.compute_id,
            system_identifier=self.system_identifier or state.system_identifier,
            data_dir_inode=self.data_dir_inode,
        )


class StartAction(StrEnum):
    """What the daemon does first."""

    BEGIN = "begin"
    """No generation is known: wait for a document."""
    ADOPT = "adopt"
    """The live file is the applied generation: ask Postgres to acknowledge it."""
    VERIFY = "verify"
    """The live file is newer than what was proven: the daemon died between swap and proof."""
    REWRITE = "rewrite"
    """The live file is damaged, edited by hand or missing: write the last good one again."""


def decide_start(*, live: LiveFile | None, state: PersistentState) -> StartAction:
    """Return what to do at start, from the live file and the state folder alone."""
    if live is None or not live.intact or live.marker is None:
        return StartAction.REWRITE if state.named else StartAction.BEGIN
    if state.applied is not None and state.applied.marker == str(live.marker):
        return StartAction.ADOPT
    return StartAction.VERIFY


def floor_of(live: LiveFile, state: PersistentState) -> PersistentState:
    """Return *state* with the version floor of *live*, if that is newer than the state.

    The state may have changed the floor since it recorded a file.
    """
    known = max(state.live_generation, state.applied.generation if state.applied else 0)
    if live.floor is None or live.marker is None or live.marker.generation <= known:
        return state
    return msgspec.structs.replace(state, floor=live.floor)


def highest_generation(*, live: Marker | None, state: PersistentState, kept: int) -> int:
    """Return the highest generation number ever used, 0 for none."""
    known = [kept, live.generation if live else 0]
    known += [ref.generation for ref in state.named]
    return max(known)
