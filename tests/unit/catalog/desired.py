"""Documents in a line, and what they want of the catalog."""

from typing import Any

import msgspec

from compute_common.document.document import Document, decode_document
from compute_ctl.catalog.desired import DesiredCatalog


def document(**spec: Any) -> Document:
    """A document with this spec."""
    return decode_document(msgspec.json.encode({"spec": spec}))


def desired(
    *,
    roles: list[dict[str, Any]] | None = None,
    databases: list[dict[str, Any]] | None = None,
    deltas: list[dict[str, Any]] | None = None,
    **spec: Any,
) -> DesiredCatalog:
    """What such a document wants."""
    cluster = {"roles": roles or [], "databases": databases or [], **spec.pop("cluster", {})}
    found = DesiredCatalog.of(document(cluster=cluster, delta_operations=deltas, **spec))
    assert found is not None
    return found
