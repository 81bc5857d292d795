"""What the daemon remembers, and what it does with that at start. Pure."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

import msgspec

from compute_ctl.document.generation import LiveFile, Marker
from compute_ctl.document.spec import ComputeCtlConfig
from compute_ctl.document.versions import Version


class GenerationRef(msgspec.Struct, frozen=True, kw_only=True):
    """Which generation is applied, started or last known good."""

    generation: int
    marker: str
    """Text of the marker in the file of this generation."""
    content_sha256: str
    """Content hash of the document it was rendered from (see `spec.Document`)."""
    at: datetime
    """When it became so."""
    version: Version | None = None
    rest_sha256: str = ""
    """Hash of the rest of the file, without the servers; '' in a state of an earlier version."""
    in_full: bool = False
    """A new session has run with it; else only the worker has acknowledged its servers."""


class Quarantined(msgspec.Struct, frozen=True, kw_only=True):
    """A document that Postgres, or an operator, has refused."""

    content_sha256: str
    reason: str
    at: datetime
    version: Version | None = None
    operation_uuid: str | None = None
    servers_too: bool = False
    """Also the servers it names were refused, not only the rest."""
    unfinished: bool = False
    """The check of it did not come to an end, perhaps only because the machine was busy."""


class PersistentState(msgspec.Struct, frozen=True, kw_only=True):
    """Content of state.json: what must survive the daemon."""

    compute_id: str = ""
    system_identifier: str = ""
    """Of the cluster, so that a state folder copied with another data directory is noticed."""
    data_dir_inode: str = ""
    """``device:inode`` of the data directory."""
    applied: GenerationRef | None = None
    started: GenerationRef | None = None
    """The newest generation that a server came up with."""
    last_known_good: GenerationRef | None = None
    """The newest generation that is both proven in full and started."""
    proven_rests: tuple[GenerationRef, ...] = ()
    """Generations proven in full of which nothing waits for a restart, the newest last: two at
    most, with different rests. The newest is what a refused rest is replaced with; the one before
    it, where what is refused had been proven already."""
    floor: Version | None = None
    """No document older than this is taken."""
    live_generation: int = 0
    """The generation in the live file when this was saved; 0: not known."""
    last_pull: dict[str, str] = {}
    """Content hash of the last document pulled, by source name."""
    quarantine: tuple[Quarantined, ...] = ()
    ctl_config: ComputeCtlConfig | None = None
    """What the newest document accepted says for the daemon itself; g/ has it only where that
    document made a generation of its own."""
    catalog_sha256: str = ""
    """Of what was wanted of roles, databases and extensions, and is done."""
    done_operations: tuple[str, ...] = ()
    """Operations whose delta operations were carried out; the newest last."""
    subscriptions_dropped_for: str = ""
    """The timeline in which the subscriptions of its parent were dropped last."""

    def proven(self, fact: GenerationRef, *, good: bool) -> PersistentState:
        """Return it with *fact* applied.

        *good*: it is proven in full, and nothing of it waits for a restart. If a server came up
        with it, too, it is the last known good one. What is applied already stays as it is, with
        the time since when it has been.
        """
        known = self.applied
        if known is not None and known.marker == fact.marker:
            # The same file for a document that differs elsewhere, say in its roles, is news.
            same = fact.content_sha256 in ("", known.content_sha256)
            in_full = fact.in_full or known.in_full
            fact = msgspec.structs.replace(known if same else fact, in_full=in_full)
        state = msgspec.structs.replace(self, applied=fact)
        if not good:
            return state
        others = [one for one in self.proven_rests if one.rest_sha256 != fact.rest_sha256]
        state = msgspec.structs.replace(state, proven_rests=(*others[-1:], fact))
        return _with_good(state, fact) if is_same(self.started, fact) else state

    def came_up(self, fact: GenerationRef) -> PersistentState:
        """Return it with *fact* as the generation that a server came up with."""
        state = msgspec.structs.replace(self, started=fact)
        for proven in self.proven_rests:
            if is_same(proven, fact):
                return _with_good(state, proven)
        return state

    def with_version(self, marker: str, version: Version | None) -> PersistentState:
        """Return it with *version* in the facts about the generation of *marker*."""

        def renamed(fact: GenerationRef) -> GenerationRef:
            is_it = fact.marker == marker
            return msgspec.structs.replace(fact, version=version) if is_it else fact

        facts = {
            name: renamed(fact)
            for name in ("applied", "started", "last_known_good")
            if (fact := getattr(self, name)) is not None
        }
        rests = tuple(map(renamed, self.proven_rests))
        return msgspec.structs.replace(self, **facts, proven_rests=rests)

    def without_rest(self, rest_sha256: str) -> PersistentState:
        """Return it for a rest that was refused: it replaces no other any more."""
        left = tuple(one for one in self.proven_rests if one.rest_sha256 != rest_sha256)
        return msgspec.structs.replace(self, proven_rests=left)

    @property
    def fallback(self) -> GenerationRef | None:
        """The generation whose rest replaces one that is refused while the server runs."""
        return self.proven_rests[-1] if self.proven_rests else None

    @property
    def named(self) -> tuple[GenerationRef, ...]:
        """All generations that it names; their copies are to be kept."""
        facts = (self.applied, self.started, self.last_known_good, *self.proven_rests)
        return tuple(fact for fact in facts if fact is not None)

    @property
    def migrated(self) -> PersistentState:
        """This one, where it is of a version for which good meant proven in full.

        Whether a server came up with that generation is not known.
        """
        if self.last_known_good is None or self.started is not None or self.proven_rests:
            return self
        proven = (self.last_known_good,)
        return msgspec.structs.replace(self, last_known_good=None, proven_rests=proven)


def _with_good(state: PersistentState, fact: GenerationRef) -> PersistentState:
    return msgspec.structs.replace(state, last_known_good=fact)


def is_same(one: GenerationRef | None, other: GenerationRef) -> bool:
    """Whether *one* is the same generation as *other*."""
    return one is not None and one.marker == other.marker


class ClusterIdentity(msgspec.Struct, frozen=True, kw_only=True):
    """Which compute and which data directory a state folder belongs to."""

    compute_id: str
    system_identifier: str
    data_dir_inode: str

    def fits(self, state: PersistentState) -> bool:
        """Whether *state* was written for this one; an empty one was written for nobody."""
        return not state.system_identifier or self.put_into(state) == state

    def differs(self, state: PersistentState) -> str:
        """Return in what *state* is not this one's, for people."""
        facts = (
            ("compute ID", state.compute_id, self.compute_id),
            ("system identifier", state.system_identifier, self.system_identifier),
            ("device and inode of the data directory", state.data_dir_inode, self.data_dir_inode),
        )
        return ", ".join(f'{name} "{old}" is now "{new}"' for name, old, new in facts if old != new)

    def put_into(self, state: PersistentState) -> PersistentState:
        """Return *state* as this one's."""
        return msgspec.structs.replace(
            state,
            compute_id=self.compute_id,
            system_identifier=self.system_identifier,
            data_dir_inode=self.data_dir_inode,
        )


class StartAction(StrEnum):
    """What to do first."""

    BEGIN = "begin"
    """Nothing of ours is there: wait for a document."""
    ADOPT = "adopt"
    """The live file is the applied generation: ask Postgres to acknowledge it."""
    VERIFY = "verify"
    """The live file is newer than what was proven: the daemon died between swap and proof."""
    REWRITE = "rewrite"
    """The live file is torn or edited by hand, or gone: write the last good generation again."""


def decide_start(*, live: LiveFile | None, state: PersistentState) -> StartAction:
    """Return what to do at start, from the live file and the state folder alone."""
    if live is None or not live.intact or live.marker is None:
        return StartAction.REWRITE if state.named else StartAction.BEGIN
    if state.applied is not None and state.applied.marker == str(live.marker):
        return StartAction.ADOPT
    return StartAction.VERIFY


def floor_of(live: LiveFile, state: PersistentState) -> PersistentState:
    """Return *state* with the version floor of a live file that is newer than all it knows of.

    Of a file that it knows, proven or not, the state may have moved the floor since.
    """
    known = max(state.live_generation, state.applied.generation if state.applied else 0)
    if live.floor is None or live.marker is None or live.marker.generation <= known:
        return state
    return msgspec.structs.replace(state, floor=live.floor)


def highest_generation(*, live: Marker | None, state: PersistentState, kept: int) -> int:
    """Return the highest number of a generation that was ever used here, 0 for none."""
    known = [kept, live.generation if live else 0]
    known += [fact.generation for fact in state.named]
    return max(known)
