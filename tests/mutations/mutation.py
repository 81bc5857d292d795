"""A way in which the product is broken, with the smallest tests that must notice. Pure.

A mutation is a text that stands exactly once in its file, and another in its place. Where the
source has moved on, `mutated` fails, and so does a test of the suite: no mutation rots.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

CORE: Final = "pg_hook/"


class MovedError(Exception):
    """The source is no longer as the mutation knows it."""


@dataclass(frozen=True, kw_only=True)
class Mutation:
    """One way to break the product."""

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]
    """Arguments for pytest."""

    @property
    def core(self) -> bool:
        """Whether the C core must be built again."""
        return self.file.startswith(CORE)


def mutated(mutation: Mutation, root: Path) -> str:
    """Return the whole text of the mutation's file in *root*, broken. Raises MovedError."""
    text = (root / mutation.file).read_text("utf-8")
    if (found := text.count(mutation.old)) != 1:
        raise MovedError(
            f'mutation "{mutation.name}": its text stands {found} times in {mutation.file}'
        )
    return text.replace(mutation.old, mutation.new)
