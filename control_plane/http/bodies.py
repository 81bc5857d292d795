"""What the admin API answers to changes. Pure."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

TOKEN_HEADER: Final = "Compute-Token"  # noqa: S105 -- the name of a header
"""Carries the token of one compute: an address would end up in logs."""


class ChangeBody(Struct, frozen=True, kw_only=True):
    """What a change did, or with `dry_run` would do."""

    id: str
    changed: bool
    dry_run: bool
    generation: int
    """Published, after the change; 0: nothing is."""
    differences: list[str]
    """Of what is published: ``path: old -> new``, secrets hidden."""
    warnings: tuple[str, ...] = ()
    incomplete: str = ""
    """Why nothing can be published yet."""


class ReconcileBody(Struct, frozen=True, kw_only=True):
    """What a comparison with the storage controller came to."""

    computes_changed: int
    failure: str
    """Why the storage controller did not answer; empty where it did."""
