"""The diagram of the state machine, and that the guide knows every status and outcome."""

from pathlib import Path

import pytest

from compute_ctl.decisions.model import Outcome
from compute_ctl.decisions.transitions import TRANSITIONS, Event, Status
from tools.state_diagram import BEGIN, DOCUMENT, END, arrows, diagram, replaced, shared

GUIDE = Path(__file__).resolve().parents[2] / "docs/operations.md"


def test_every_change_is_drawn() -> None:
    """Each row that changes a status is an arrow of its own or one from the frame."""
    outer = shared(TRANSITIONS)
    drawn = {
        (status, Event(event), place)
        for status, place, events in arrows(TRANSITIONS, outer)
        for event in events.split(", ")
    }
    expected = {
        (status, event, place)
        for status, row in TRANSITIONS.items()
        for event, place in row.items()
        if place is not status
    }
    from_frame = {
        (status, event, place) for status, event, place in expected if outer.get(event) is place
    }

    assert expected == drawn | from_frame


def test_frame_holds_what_nearly_all_have_in_common() -> None:
    """A push, the end of Postgres and a termination are drawn once."""
    assert {
        Event.CONFIGURE: Status.CONFIGURATION_PENDING,
        Event.TERMINATE_FAST: Status.TERMINATION_PENDING_FAST,
        Event.TERMINATE_IMMEDIATE: Status.TERMINATION_PENDING_IMMEDIATE,
        Event.STOPPED: Status.TERMINATED,
    } == shared(TRANSITIONS)


def test_change_of_the_table_changes_the_diagram() -> None:
    """A row more is a stale document."""
    rows = {
        **TRANSITIONS,
        Status.EMPTY: {
            **TRANSITIONS[Status.EMPTY],
            Event.FETCH_STARTED: Status.REFRESH_CONFIGURATION,
        },
    }

    assert "empty --> refresh_configuration: fetch_started" not in diagram()
    assert "empty --> refresh_configuration: fetch_started" in diagram(rows)


def test_document_gets_the_diagram_between_its_marks() -> None:
    """What stands around the marks stays; without marks nothing is guessed."""
    assert f"a\n{BEGIN}new\n{END}z\n" == replaced(f"a\n{BEGIN}old\n{END}z\n", "new\n")
    with pytest.raises(ValueError, match="no lines"):
        replaced("a\n", "new\n")


def test_our_document() -> None:
    """docs/architecture.md holds the diagram of this table."""
    text = DOCUMENT.read_text()

    assert replaced(text, diagram()) == text


@pytest.mark.parametrize("outcome", Outcome)
def test_guide_explains_every_outcome(outcome: Outcome) -> None:
    """Each outcome has a row in the operating guide."""
    assert f"\n| `{outcome.value}` |" in GUIDE.read_text()


@pytest.mark.parametrize("status", Status)
def test_guide_explains_every_status(status: Status) -> None:
    """Each status has a place in the operating guide's table."""
    table = GUIDE.read_text().partition("### Each status")[2].partition("###")[0]
    shown = status.value.replace("termination_pending_immediate", "…_immediate")

    assert f"`{shown}`" in table
