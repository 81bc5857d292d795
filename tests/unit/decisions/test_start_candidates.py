"""What to start Postgres with where it has not come up."""

from datetime import UTC, datetime

from compute_ctl.decisions.model import Written
from compute_ctl.decisions.start_candidates import KeptRest, candidates
from compute_ctl.document.generation import Marker


def failed(generation: int, rest: str, upstream: str = "u-new\n") -> Written:
    """Return what Postgres did not start with."""
    marker = Marker.of(generation=generation, nonce="0" * 32, body=rest + upstream)
    return Written(marker=marker, rest=rest, upstream=upstream, at=datetime.now(UTC))


def kept(generation: int, rest: str, *, refused: bool = False) -> KeptRest:
    """Return a kept generation, whose servers are gone."""
    return KeptRest(generation=generation, rest=rest, upstream="u-old\n", refused=refused)


def test_newest_first_down_to_the_started_one() -> None:
    """Each rest once, with the newest servers; at last the started one with its own."""
    generations = [kept(number, f"r{number}\n") for number in (1, 2, 3, 4)] + [kept(5, "r4\n")]

    found = candidates(failed(6, "r6\n"), generations, started=2)

    expected = [
        (5, "r4\nu-new\n"), (3, "r3\nu-new\n"), (2, "r2\nu-new\n"), (2, "r2\nu-old\n")
    ]  # fmt: skip
    assert expected == [(one.generation, one.body) for one in found]


def test_what_was_refused_is_not_tried() -> None:
    """Postgres has said no to it already."""
    generations = [kept(1, "r1\n"), kept(2, "r2\n", refused=True)]

    found = candidates(failed(3, "r3\n"), generations, started=None)

    assert [(1, "r1\nu-new\n")] == [(one.generation, one.body) for one in found]


def test_the_started_one_has_nothing_before_it() -> None:
    """A server came up with it: what is older would help as little."""
    generations = [kept(1, "r1\n"), KeptRest(generation=2, rest="r2\n", upstream="u-new\n")]

    assert () == candidates(failed(2, "r2\n"), generations, started=2)
