"""What the daemon does first, from what an earlier one left."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from compute_common.document.versions import Version
from compute_ctl.decisions.persistent_state import (
    ClusterIdentity,
    GenerationRef,
    PersistentState,
    Quarantined,
    StartAction,
    decide_start,
    floor_of,
    highest_generation,
)
from compute_ctl.document.generation import LiveFile, Marker, file_text

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def marker(generation: int, nonce: str = "a") -> Marker:
    """Return the marker of a body that names its generation."""
    return Marker.of(generation=generation, nonce=nonce * 32, body=f"g = {generation}\n")


def live(generation: int, nonce: str = "a") -> LiveFile:
    """Return an intact live file."""
    text = file_text(f"g = {generation}\n", marker(generation, nonce))
    return LiveFile.parse(text)


def fact(generation: int, nonce: str = "a", rest: str = "") -> GenerationRef:
    """Return a fact about the generation that `live` has."""
    named = str(marker(generation, nonce))
    return GenerationRef(
        generation=generation, marker=named, content_sha256="", at=NOW, rest_sha256=rest
    )


def test_identity_says_what_differs() -> None:
    """A state of another compute is told from ours, and an operator is told by what."""
    ours = ClusterIdentity(compute_id="a", system_identifier="7", data_dir_inode="1:2")
    theirs = msgspec.structs.replace(
        ours.stamp(PersistentState()), compute_id="b", data_dir_inode="1:3"
    )

    assert (True, True, False) == (
        ours.matches(PersistentState()),
        ours.matches(ours.stamp(PersistentState())),
        ours.matches(theirs),
    )
    expected = (
        'compute ID "b" is now "a", device and inode of the data directory "1:3" is now "1:2"'
    )
    assert expected == ours.differs(theirs)


def test_what_is_proven_is_applied() -> None:
    """Its rest replaces refused ones where it is good; what is applied already keeps its time."""
    old, later = fact(1), NOW + timedelta(seconds=1)
    of_document = msgspec.structs.replace(old, content_sha256="ab", at=later)

    assert PersistentState(applied=old) == PersistentState().proven(old, good=False)
    assert PersistentState(applied=fact(2), proven_rests=(old,)) == (
        PersistentState().proven(old, good=True).proven(fact(2), good=False)
    )
    again = msgspec.structs.replace(old, at=later)
    assert PersistentState(applied=old, proven_rests=(old,)) == PersistentState(applied=old).proven(
        again, good=True
    )
    assert PersistentState(applied=of_document) == PersistentState(applied=old).proven(
        of_document, good=False
    )


def test_good_is_what_was_proven_in_full_and_started() -> None:
    """In either order; neither alone is enough, and a reload leaves the last known good one."""
    one, two = fact(1, rest="r1"), fact(2, rest="r2")

    assert None is PersistentState().proven(one, good=True).last_known_good
    assert None is PersistentState().came_up(one).proven(one, good=False).last_known_good
    assert one == PersistentState().proven(one, good=True).came_up(one).last_known_good
    good = PersistentState().came_up(one).proven(one, good=True)
    assert one == good.last_known_good
    reloaded = good.proven(two, good=True)
    assert (one, two) == (reloaded.last_known_good, reloaded.fallback)
    assert two == reloaded.came_up(two).last_known_good


def test_a_refused_rest_replaces_no_other() -> None:
    """What was proven before it does; a heal with the same settings does not displace that."""
    one, two, heal = (fact(n, rest=rest) for n, rest in ((1, "r1"), (2, "r2"), (3, "r2")))

    state = PersistentState().proven(one, good=True).proven(two, good=True).proven(heal, good=True)
    assert heal == state.fallback
    assert one == state.without_rest("r2").fallback


def test_good_of_an_earlier_version_was_not_started_for_sure() -> None:
    """Its state says only that it was proven in full."""
    assert (
        PersistentState(proven_rests=(fact(1),))
        == PersistentState(last_known_good=fact(1)).migrated
    )
    known = PersistentState(last_known_good=fact(1), started=fact(1))
    assert known == known.migrated


EDITED = LiveFile(marker=marker(2), body="g = 3\n")
FOREIGN = LiveFile(marker=None, body="g = 2\n")
KNOWN = PersistentState(applied=fact(2), last_known_good=fact(1))


@pytest.mark.parametrize(
    ("found", "state", "start"),
    [
        (None, PersistentState(), StartAction.BEGIN),
        (FOREIGN, PersistentState(), StartAction.BEGIN),
        (None, KNOWN, StartAction.REWRITE),
        (FOREIGN, KNOWN, StartAction.REWRITE),
        (FOREIGN, PersistentState(applied=fact(2)), StartAction.REWRITE),
        (EDITED, KNOWN, StartAction.REWRITE),
        (live(2), KNOWN, StartAction.ADOPT),
        (live(3), KNOWN, StartAction.VERIFY),
        (live(1), KNOWN, StartAction.VERIFY),
        (live(2, "b"), KNOWN, StartAction.VERIFY),
        (live(2), PersistentState(), StartAction.VERIFY),
        (EDITED, PersistentState(), StartAction.BEGIN),
    ],
)
def test_start(found: LiveFile | None, state: PersistentState, start: StartAction) -> None:
    """Applied is adopted, newer is proven, damaged is written again where there is a good one."""
    assert decide_start(live=found, state=state) is start


@pytest.mark.parametrize(
    ("found", "state", "kept", "expected"),
    [
        (None, PersistentState(), 0, 0),
        (None, PersistentState(), 5, 5),
        (marker(9), PersistentState(), 5, 9),
        (marker(1), KNOWN, 0, 2),
        (None, PersistentState(last_known_good=fact(12)), 5, 12),
    ],
)
def test_highest_generation(
    found: Marker | None, state: PersistentState, kept: int, expected: int
) -> None:
    """No number is used twice, whichever of the three places knows it."""
    assert highest_generation(live=found, state=state, kept=kept) == expected


def test_state_survives_json() -> None:
    """What is saved reads back the same."""
    state = PersistentState(
        compute_id="ep",
        applied=fact(2),
        floor=Version(timestamp=NOW),
        last_pull={"file": "x"},
        quarantine=(Quarantined(content_sha256="x", reason="bad", at=NOW),),
    )

    assert msgspec.json.decode(msgspec.json.encode(state), type=PersistentState) == state


@pytest.mark.parametrize(
    ("generation", "written", "expected"),
    [
        (3, Version(generation=7), Version(generation=7)),
        (3, Version(generation=1), Version(generation=1)),  # a rollback that was not saved
        (3, None, Version(generation=5)),
        (2, Version(generation=7), Version(generation=5)),
    ],
)
def test_a_newer_file_knows_the_floor(
    generation: int, written: Version | None, expected: Version
) -> None:
    """Where the state could not be saved, the live file says what was no longer to be taken."""
    state = msgspec.structs.replace(KNOWN, floor=Version(generation=5))
    found = LiveFile(marker=marker(generation), body="", floor=written)
    assert expected == floor_of(found, state).floor


def test_a_state_that_knows_the_file_knows_the_floor() -> None:
    """Equal content has come in a newer version since: the file was not written anew for it."""
    floor = Version(generation=5)
    state = msgspec.structs.replace(KNOWN, floor=floor, live_generation=3)
    found = LiveFile(marker=marker(3), body="", floor=Version(generation=4))
    assert floor == floor_of(found, state).floor
