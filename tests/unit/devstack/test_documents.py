"""devstack.control_plane.documents and store: what a document is, how it moves, how it is kept."""

import json
from pathlib import Path
from typing import Any

import pytest

from devstack.control_plane import documents
from devstack.control_plane.documents import Attachment, ConflictError
from devstack.control_plane.store import StateError, Store
from devstack.document import attached

TENANT = "9f3c1d5e7a804b26a1c4e85d02f7b369"
TIMELINE = "0a1b2c3d4e5f60718293a4b5c6d7e8f9"
NODES = {11: "postgresql://no_user@127.0.0.1:6411", 12: "postgresql://no_user@127.0.0.1:6412"}


def document(**fields: Any) -> documents.Document:
    """An attached document of the tenant."""
    return attached(tenant=TENANT, timeline=TIMELINE, **fields)


def test_etag_is_strong() -> None:
    """Equal documents have equal tags whatever the order of their keys; others do not."""
    one = document(generation=1)
    same = json.loads(json.dumps(one, sort_keys=True))

    assert documents.etag(same) == documents.etag(one)
    assert documents.etag(document(generation=2)) != documents.etag(one)
    assert documents.etag(one).startswith('"')


@pytest.mark.parametrize(
    "wrong", [{}, {"status": "attached"}, {"status": "attached", "spec": []}, {"status": "full"}]
)
def test_document_that_no_compute_could_get(wrong: documents.Document) -> None:
    """A document without status or spec is refused."""
    with pytest.raises(ValueError, match=r"status|spec"):
        documents.check_document(wrong)


def test_unsharded_attachment() -> None:
    """One shard without a stripe is the index 0000 of no shards."""
    body = {
        "tenant_id": TENANT,
        "preferred_az": "az",
        "stripe_size": None,
        "shards": [{"node_id": 11, "shard_number": 0}],
    }

    attachment = documents.parse_attachment(body)

    assert attachment == Attachment(tenant_id=TENANT, nodes=(11,), stripe_size=None)
    assert documents.connection_info(attachment, NODES) == {
        "shard_count": 0,
        "stripe_size": None,
        "prefer_protocol": "libpq",
        "shards": {"0000": {"pageservers": [{"id": 11, "libpq_url": NODES[11]}]}},
    }


def test_sharded_attachment() -> None:
    """Shards may come in any order."""
    body = {
        "tenant_id": TENANT,
        "stripe_size": 2048,
        "shards": [{"node_id": 11, "shard_number": 1}, {"node_id": 12, "shard_number": 0}],
    }

    info = documents.connection_info(documents.parse_attachment(body), NODES)

    assert 2 == info["shard_count"]
    ids = {index: shard["pageservers"][0]["id"] for index, shard in info["shards"].items()}
    assert {"0002": 12, "0102": 11} == ids


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"tenant_id": None}, ValueError),
        ({"shards": None}, ValueError),
        ({"shards": [{"node_id": 1}]}, ValueError),
        ({"stripe_size": 0}, ValueError),
        ({"shards": []}, ConflictError),
        ({"shards": [{"node_id": 1, "shard_number": 1}]}, ConflictError),
        ({"shards": [{"node_id": 1, "shard_number": n} for n in (0, 1)]}, ConflictError),
        ({"shards": [{"node_id": 1, "shard_number": 0}] * 2, "stripe_size": 1}, ConflictError),
    ],
)
def test_bad_attachment(change: dict[str, Any], error: type[Exception]) -> None:
    """A body without its parts is malformed; an impossible shard set is a conflict."""
    good = {
        "tenant_id": TENANT,
        "stripe_size": None,
        "shards": [{"node_id": 1, "shard_number": 0}],
    }
    with pytest.raises(error):
        documents.parse_attachment({**good, **change})


def test_attach_replaces_every_spelling() -> None:
    """The new pageservers win over the legacy string, and the generation grows."""
    before = document(connstring="postgresql://old", stripe_size=1, generation=7)
    info = documents.connection_info(
        Attachment(tenant_id=TENANT, nodes=(12,), stripe_size=None), NODES
    )

    after = documents.attach(before, info)

    assert 8 == after["spec"]["generation"]
    assert after["spec"]["pageserver_connection_info"] == info
    assert not {"pageserver_connstring", "shard_stripe_size"} & set(after["spec"])
    assert documents.attach(after, info) is after
    assert 7 == before["spec"]["generation"]


def test_older_document() -> None:
    """A document of the generation before; without a generation it is the same."""
    assert 6 == documents.generation(documents.older(document(generation=7)))
    assert documents.older(document()) == document()


def test_store_survives_a_restart(tmp_path: Path) -> None:
    """What was put is there after a reload, with what was before it."""
    store = Store(tmp_path / "state.json")
    store.load()
    store.put_node(11, NODES[11])
    store.put("ep/1", document(generation=1))
    store.put("ep/1", document(generation=2))

    again = Store(tmp_path / "state.json")
    again.load()

    assert again.nodes == {11: NODES[11]}
    assert again.computes["ep/1"].document == document(generation=2)
    assert again.computes["ep/1"].previous == document(generation=1)
    assert ["state.json"] == [path.name for path in tmp_path.iterdir()]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"nodes": {}}', '{"nodes": [], "computes": {}}'])
def test_unusable_state_file(tmp_path: Path, text: str) -> None:
    """A state file that is not ours is refused and left alone."""
    path = tmp_path / "state.json"
    path.write_text(text)

    with pytest.raises(StateError, match="cannot read state file"):
        Store(path).load()
    assert path.read_text() == text


def test_attach_changes_all_computes_of_the_tenant(tmp_path: Path) -> None:
    """Computes of other tenants and detached ones stay as they are."""
    store = Store(tmp_path / "state.json")
    store.load()
    store.put_node(11, NODES[11])
    for name in ("one", "two"):
        store.put(name, document(generation=1))
    store.put("other", attached(tenant="1" * 32, timeline=TIMELINE, generation=1))
    store.put("gone", documents.emptied(document(generation=1)))

    count = store.attach(Attachment(tenant_id=TENANT, nodes=(11,), stripe_size=None))

    assert 2 == count
    generations = {
        name: documents.generation(compute.document) for name, compute in store.computes.items()
    }
    assert {"one": 2, "two": 2, "other": 1, "gone": None} == generations


def test_attach_to_an_unknown_node_changes_nothing(tmp_path: Path) -> None:
    """The storage controller must name its nodes first."""
    store = Store(tmp_path / "state.json")
    store.load()
    store.put("one", document(generation=1))

    with pytest.raises(ConflictError, match="unknown node 12"):
        store.attach(Attachment(tenant_id=TENANT, nodes=(12,), stripe_size=None))
    assert store.computes["one"].document == document(generation=1)
