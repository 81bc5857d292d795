"""Every mutation still fits the source and names tests that exist; one is run here as well."""

from pathlib import Path

import pytest

from tests.mutations.catalog import MUTATIONS, named
from tests.mutations.mutation import MovedError, Mutation, mutated
from tests.mutations.run import ROOT, Ran, copy

ENOUGH = 20


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_it_fits_the_source(mutation: Mutation) -> None:
    """The text stands exactly once in its file, and what takes its place is another."""
    text = (ROOT / mutation.file).read_text("utf-8")

    assert mutated(mutation, ROOT) != text
    assert (ROOT / mutation.tests[0]).is_file()


def test_there_are_enough_and_none_twice() -> None:
    """Each has a name of its own, in Python and in C."""
    names = [mutation.name for mutation in MUTATIONS]

    assert len(names) == len(set(names)) >= ENOUGH
    assert {True, False} == {mutation.core for mutation in MUTATIONS}
    assert list(MUTATIONS) == named([])
    with pytest.raises(ValueError, match='there is no mutation "nobody"'):
        named(["nobody"])


@pytest.mark.parametrize("text", ["", "old\nold\n"])
def test_a_source_that_has_moved_is_told(tmp_path: Path, text: str) -> None:
    """A text that is gone, or stands twice, is no mutation any more."""
    (tmp_path / "a.py").write_text(text)
    mutation = Mutation(name="m", file="a.py", old="old\n", new="new\n", tests=())

    with pytest.raises(MovedError, match=r'mutation "m": its text stands [02] times in a\.py'):
        mutated(mutation, tmp_path)


@pytest.mark.parametrize(("status", "caught"), [(1, True), (-8, True), (0, False), (5, False)])
def test_what_counts_as_caught(status: int, caught: bool) -> None:
    """A failed test or a dead interpreter; neither success nor that no test was found."""
    assert caught is Ran(status=status, seconds=0.0, output="").caught


def test_a_copy_is_broken_and_mended() -> None:
    """What passes on the whole product fails on a broken copy; the checkout is left alone."""
    mutation = named(["no version check"])[0]
    before = (ROOT / mutation.file).read_bytes()
    with copy() as made:
        with made.broken(mutation):
            assert made.test(mutation.tests).caught
        assert 0 == made.test(mutation.tests).status

    assert before == (ROOT / mutation.file).read_bytes()
