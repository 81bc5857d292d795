"""What the daemon remembers, and what it does with that at start. Pure."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

import msgspec

from compute_ctl.document.generation import LiveFile, Marker
from compute_ctl.document.spec import ComputeCtlConfig
from compute_ctl.document.versions import Version


class Fact(msgspec.Struct, frozen=True, kw_only=True):
    """Which generation is applied, or last known good."""

    generation: int
    marker: str
    """Text of the marker in the file of this generation."""
    content_sha256: str
    """Content hash of the document it was rendered from (see `spec.Document`)."""
    at: datetime
    """When it became so."""
    version: Version | None = None


class Quarantined(msgspec.Struct, frozen=True, kw_only=True):
    """A document that Postgres, or an operator, has refused."""

    content_sha256: str
    reason: str
    at: datetime
    version: Version | None = None
    operation_uuid: str | None = None
    servers_too: bool = False
    """Also the servers it names were refused, not only the rest."""


class State(msgspec.Struct, frozen=True, kw_only=True):
    """Content of state.json: what must survive the daemon."""

    compute_id: str = ""
    system_identifier: str = ""
    """Of the cluster, so that a state folder copied with another data directory is noticed."""
    data_dir_inode: str = ""
    """``device:inode`` of the data directory."""
    applied: Fact | None = None
    last_known_good: Fact | None = None
    floor: Version | None = None
    """No document older than this is taken."""
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

    def proven(self, fact: Fact, *, good: bool) -> State:
        """Return it with *fact* applied, and where it is *good*, last known good too.

        What is applied already stays as it is, with the time since when it has been.
        """
        known = self.applied
        if known is not None and known.marker == fact.marker:
            # The same file for a document that differs elsewhere, say in its roles, is news.
            same = fact.content_sha256 in ("", known.content_sha256)
            fact = known if same else fact
        last_known_good = fact if good else self.last_known_good
        return msgspec.structs.replace(self, applied=fact, last_known_good=last_known_good)

    def with_version(self, marker: str, version: Version | None) -> State:
        """Return it with *version* in the facts about the generation of *marker*."""
        facts = {
            name: msgspec.structs.replace(fact, version=version)
            for name in ("applied", "last_known_good")
            if (fact := getattr(self, name)) is not None and fact.marker == marker
        }
        return msgspec.structs.replace(self, **facts)


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """Which compute and which data directory a state folder belongs to."""

    compute_id: str
    system_identifier: str
    data_dir_inode: str

    def fits(self, state: State) -> bool:
        """Whether *state* was written for this one; an empty one was written for nobody."""
        return not state.system_identifier or self.put_into(state) == state

    def differs(self, state: State) -> str:
        """Return in what *state* is not this one's, for people."""
        facts = (
            ("compute ID", state.compute_id, self.compute_id),
            ("system identifier", state.system_identifier, self.system_identifier),
            ("device and inode of the data directory", state.data_dir_inode, self.data_dir_inode),
        )
        return ", ".join(f'{name} "{old}" is now "{new}"' for name, old, new in facts if old != new)

    def put_into(self, state: State) -> State:
        """Return *state* as this one's."""
        return msgspec.structs.replace(
            state,
            compute_id=self.compute_id,
            system_identifier=self.system_identifier,
            data_dir_inode=self.data_dir_inode,
        )


class Start(StrEnum):
    """What to do first."""

    BEGIN = "begin"
    """Nothing of ours is there: wait for a document."""
    ADOPT = "adopt"
    """The live file is the applied generation: ask Postgres to acknowledge it."""
    PROVE = "prove"
    """The live file is newer than what was proven: the daemon died between swap and proof."""
    REWRITE = "rewrite"
    """The live file is torn or edited by hand, or gone: write the last good generation again."""


def decide_start(*, live: LiveFile | None, state: State) -> Start:
    """Return what to do at start, from the live file and the state folder alone."""
    if live is None or not live.intact or live.marker is None:
        return Start.REWRITE if state.last_known_good or state.applied else Start.BEGIN
    if state.applied is not None and state.applied.marker == str(live.marker):
        return Start.ADOPT
    return Start.PROVE


def floor_of(live: LiveFile, state: State) -> State:
    """Return *state* with the version floor of a live file that is newer than all it knows of."""
    known = state.applied.generation if state.applied else 0
    if live.floor is None or live.marker is None or live.marker.generation <= known:
        return state
    return msgspec.structs.replace(state, floor=live.floor)


def highest_generation(*, live: Marker | None, state: State, kept: int) -> int:
    """Return the highest number of a generation that was ever used here, 0 for none."""
    known = [kept, live.generation if live else 0]
    known += [fact.generation for fact in (state.applied, state.last_known_good) if fact]
    return max(known)
