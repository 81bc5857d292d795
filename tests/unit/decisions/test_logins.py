"""A refused session is evidence against a document only where nothing else explains it."""

import pytest

from compute_ctl.decisions.logins import Logins, is_evidence


@pytest.mark.parametrize("sqlstate", ["58P01", "XX000", "55000", "22023", "42704"])
def test_what_settings_can_do(sqlstate: str) -> None:
    """A library that is not there, cannot be loaded, or refuses: that is due to a setting."""
    assert is_evidence(sqlstate, troubled=False)


@pytest.mark.parametrize(
    "sqlstate",
    [
        None,
        "08006",
        "28000",
        "28P01",
        "3D000",
        "53300",
        "57P01",
        "57P02",
        "57P03",
        "58030",
        "XX001",
    ],
)
def test_what_others_do(sqlstate: str | None) -> None:
    """No room, no right, no database, a stop, a disk, or no SQLSTATE: nothing against a setting."""
    assert not is_evidence(sqlstate, troubled=False)


def test_a_pageserver_in_trouble_may_be_the_reason() -> None:
    """An internal error counts only while Postgres complains of no server."""
    assert not is_evidence("XX000", troubled=True)
    assert is_evidence("58P01", troubled=True)


def test_what_was_refused_before() -> None:
    """A generation is not to blame for a refusal that the one before it has seen, too."""
    logins = Logins()
    logins.written("1")
    logins.last = "58P01"
    logins.written("1")
    assert logins.blames("58P01")
    logins.written("2")
    assert (False, True) == (logins.blames("58P01"), logins.blames("XX000"))
    logins.last = ""
    logins.written("3")
    assert logins.blames("58P01")
