"""All the ways in which the product is broken. Pure."""

from collections.abc import Sequence
from typing import Final

from tests.mutations.mutation import Mutation
from tests.mutations.of_adapters import ADAPTERS
from tests.mutations.of_bootstrap import BOOTSTRAP
from tests.mutations.of_control_plane_adapters import CONTROL_PLANE_ADAPTERS
from tests.mutations.of_control_plane_decisions import CONTROL_PLANE_DECISIONS
from tests.mutations.of_decisions import DECISIONS
from tests.mutations.of_promotion import PROMOTION
from tests.mutations.of_reconciler import RECONCILER
from tests.mutations.of_sources import SOURCES

MUTATIONS: Final = (
    *DECISIONS,
    *RECONCILER,
    *SOURCES,
    *PROMOTION,
    *ADAPTERS,
    *BOOTSTRAP,
    *CONTROL_PLANE_DECISIONS,
    *CONTROL_PLANE_ADAPTERS,
)


def named(names: Sequence[str]) -> list[Mutation]:
    """Return the mutations with these names, all for none. Raises ValueError."""
    known = {mutation.name: mutation for mutation in MUTATIONS}
    if unknown := [name for name in names if name not in known]:
        raise ValueError(f'there is no mutation "{unknown[0]}"')
    return [known[name] for name in names] or list(MUTATIONS)
