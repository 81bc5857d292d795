"""What a document wants of the catalog, and which documents ask for the same."""

from typing import Any

import pytest

from compute_ctl.catalog.desired import DesiredCatalog, has_size_limit
from compute_ctl.errors import CatalogError
from tests.unit.catalog.desired import desired, document


@pytest.mark.parametrize(
    "spec", [{"skip_pg_catalog_updates": True}, {"mode": "Replica"}, {"mode": {"Static": "0/1"}}]
)
def test_catalog_is_not_touched(spec: dict[str, Any]) -> None:
    """A document that says so, and one of a standby, wants nothing of the catalog."""
    assert DesiredCatalog.of(document(cluster={"roles": [{"name": "r"}]}, **spec)) is None


@pytest.mark.parametrize("name", ["", "nul\0", "x" * 64, "é" * 32])
def test_impossible_name(name: str) -> None:
    """A name that the server would cut or not take is refused before anything is done."""
    with pytest.raises(CatalogError, match="role"):
        desired(roles=[{"name": name}])


def test_hash_is_of_the_catalog_alone() -> None:
    """A moved pageserver is the same target; a new operation is one only with deltas."""
    base = {"roles": [{"name": "r"}]}
    deltas = [{"action": "delete_db", "name": "d"}]
    first = desired(**base, pageserver_connstring="postgresql://a", operation_uuid="1")
    moved = desired(**base, pageserver_connstring="postgresql://b", operation_uuid="2")
    assert first.sha256 == moved.sha256
    assert first.sha256 != desired(roles=[{"name": "s"}]).sha256
    one, two = (desired(**base, deltas=deltas, operation_uuid=uuid) for uuid in "12")
    assert one.sha256 != two.sha256


def test_deltas_run_once_for_an_operation() -> None:
    """Deltas whose operation is done are left out; those without one belong to their content."""
    deltas = [{"action": "delete_db", "name": "d"}]
    named = desired(deltas=deltas, operation_uuid="op-1")
    assert ((), deltas[0]["name"]) == (
        named.without(("op-1",)).deltas,
        named.without(("op-2",)).deltas[0].name,
    )
    unnamed = desired(deltas=deltas)
    assert unnamed.operation == desired(deltas=deltas).operation
    assert () == unnamed.without((unnamed.operation,)).deltas
    other = desired(deltas=[{"action": "delete_db", "name": "e"}])
    assert unnamed.operation != other.operation


@pytest.mark.parametrize(
    ("cluster", "expected"),
    [
        ({}, False),
        ({"settings": [{"name": "Neon.max_cluster_size", "value": "512"}]}, True),
        ({"postgresql_conf": "neon.max_cluster_size = 5\n"}, True),
        ({"postgresql_conf": "# neon.max_cluster_size = 5\n"}, False),
    ],
)
def test_size_limit_is_known(cluster: dict[str, Any], expected: bool) -> None:
    """A limit is found wherever the document sets it."""
    assert expected == has_size_limit(document(cluster=cluster).spec)
