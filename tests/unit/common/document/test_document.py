"""Documents are read whole, or refused with the field and the reason."""

import json
from typing import Any

import pytest

from compute_common.document.document import decode_document
from compute_common.document.spec import Cluster, ComputeSpec, Static
from compute_common.document.versions import Version
from compute_common.errors import SpecError, SyntaxSpecError

PRIMARY: dict[str, Any] = {
    "spec": {
        "format_version": 1.0,
        "operation_uuid": "3b1f9f52-7d2b-4a40-9c1e-5a90c6f1d0aa",
        "suspend_timeout_seconds": 300,
        "features": ["activity_monitor_experimental"],
        "cluster": {
            "cluster_id": "calm-river-42",
            "name": "calm river",
            "state": "restarted",
            "roles": [
                {"name": "app owner", "encrypted_password": "SCRAM-SHA-256$4096:x", "options": []},
                {"name": "reporter"},
            ],
            "databases": [
                {
                    "name": "shop",
                    "owner": "app owner",
                    "options": [{"name": "LC_COLLATE", "value": "C", "vartype": "string"}],
                }
            ],
            "postgresql_conf": "max_wal_senders=10\nwal_level=logical\n",
            "settings": [
                {"name": "shared_preload_libraries", "value": "neon", "vartype": "string"},
                {"name": "fsync", "value": "off", "vartype": "bool"},
            ],
        },
        "delta_operations": [
            {"action": "delete_role", "name": "old_intern"},
            {"action": "rename_db", "name": "shop_old", "new_name": "shop_archive"},
        ],
        "tenant_id": "9f3c1d5e7a804b26a1c4e85d02f7b369",
        "timeline_id": "0a1b2c3d4e5f60718293a4b5c6d7e8f9",
        "pageserver_connstring": "postgresql://no_user@ps-07.example.internal:6400",
        "safekeepers_generation": 4,
        "safekeeper_connstrings": ["sk-1:5454", "sk-2:5454"],
        "mode": "Primary",
        "storage_auth_token": "token-for-storage",
        "pgbouncer_settings": {"default_pool_size": "40"},
        "reconfigure_concurrency": 2,
        "audit_log_level": "Disabled",
        "offload_lfc_interval_seconds": 300,
    },
    "compute_ctl_config": {"jwks": {"keys": [{"kid": "k", "kty": "OKP"}]}, "tls": None},
}
SHARDED: dict[str, Any] = {
    "status": "attached",
    "spec": {
        "format_version": 1,
        "suspend_timeout_seconds": -1,
        "cluster": {"roles": [], "databases": [], "settings": None},
        "pageserver_connection_info": {
            "shard_count": 2,
            "stripe_size": 2048,
            "prefer_protocol": "libpq",
            "shards": {
                "0002": {"pageservers": [{"id": 11, "libpq_url": "a", "grpc_url": None}]},
                "0102": {"pageservers": [{"id": None, "libpq_url": "b"}]},
            },
        },
        "mode": {"Static": "0/3A1F00B8"},
    },
    "compute_ctl_config": {"jwks": {"keys": []}},
}


def encode(document: object) -> bytes:
    """Return *document* as JSON."""
    return json.dumps(document).encode()


def changed(**fields: object) -> bytes:
    """Return PRIMARY as JSON, with *fields* of its spec replaced."""
    return encode({**PRIMARY, "spec": {**PRIMARY["spec"], **fields}})


def test_reads_a_primary() -> None:
    """Every kind of field of a config file is read."""
    document = decode_document(encode(PRIMARY))

    spec = document.spec
    assert ["app owner", "reporter"] == [role.name for role in spec.cluster.roles]
    assert "off" == (spec.cluster.settings or ())[1].value
    assert "shop_archive" == (spec.delta_operations or ())[1].new_name
    assert ("sk-1:5454", "sk-2:5454") == spec.safekeeper_connstrings
    assert ({"kid": "k", "kty": "OKP"},) == document.compute_ctl_config.jwks.keys
    assert "3b1f9f52-7d2b-4a40-9c1e-5a90c6f1d0aa" == document.operation_uuid
    assert document.version is None


def test_reads_a_control_planes_answer() -> None:
    """A sharded, pinned compute is read; `status` and other unknown fields are ignored."""
    spec = decode_document(encode(SHARDED)).spec

    info = spec.pageserver_connection_info
    assert info is not None
    assert "b" == info.shards["0102"].pageservers[0].libpq_url
    assert spec.mode == Static("0/3A1F00B8")
    assert 1.0 == spec.format_version


def test_defaults_what_is_missing() -> None:
    """An empty spec is one with all the reference's defaults."""
    document = decode_document(b'{"spec": {"cluster": {}}}')

    assert document.spec == ComputeSpec(cluster=Cluster())
    assert ("Primary", 1) == (document.spec.mode, document.spec.reconfigure_concurrency)
    assert () == document.compute_ctl_config.jwks.keys


def test_ignores_unknown_fields() -> None:
    """A newer control plane may say more than we know."""
    document = decode_document(changed(new_field={"a": [1]}, features=["also_new"]))

    assert ("also_new",) == document.spec.features


def test_reads_back_what_it_keeps() -> None:
    """The JSON to keep on disk is the same document."""
    document = decode_document(changed(generation=3, new_field=1))

    again = decode_document(document.json)

    assert again == document
    assert 1 == json.loads(document.json)["spec"]["new_field"]


@pytest.mark.parametrize(
    ("spec", "path", "reason"),
    [
        (
            {"cluster": {"settings": [{"name": "a"}, {"name": "b"}, {"name": "c", "value": 3}]}},
            "spec.cluster.settings[2].value",
            "expected str | null, got int",
        ),
        (
            {"cluster": {"roles": [{}]}},
            "spec.cluster.roles[0].name",
            "missing",
        ),
        (
            {
                "pageserver_connection_info": {
                    "shard_count": 0,
                    "shards": {
                        "0000": {"pageservers": []},
                        "0001": {"pageservers": [{"libpq_url": 3}]},
                    },
                }
            },
            "spec.pageserver_connection_info.shards.0001.pageservers[0].libpq_url",
            "expected str | null, got int",
        ),
        (
            {
                "remote_extensions": {
                    "library_index": {},
                    "extension_data": {"a.b": {"archive_path": "", "control_data": {"c[0]": 1}}},
                }
            },
            "spec.remote_extensions.extension_data.a.b.control_data.c[0]",
            "expected str, got int",
        ),
        ({"mode": "primary"}, "spec.mode", "invalid enum value 'primary'"),
        (
            {"mode": {"Static": "12"}},
            "spec.mode.Static",
            "expected str matching regex '^[0-9A-Fa-f]{1,8}/[0-9A-Fa-f]{1,8}$'",
        ),
        (
            {"offload_lfc_interval_seconds": 0},
            "spec.offload_lfc_interval_seconds",
            "expected int >= 1",
        ),
        ({"generation": "3"}, "spec.generation", "expected int | null, got str"),
        ({"generation": -1}, "spec.generation", "expected int >= 0"),
        ({"features": None}, "spec.features", "expected array, got null"),
        (
            {"cluster": {}, "timestamp": "2026-01-01T00:00:00"},
            "spec.timestamp",
            'expected an RFC 3339 time with an offset, got "2026-01-01T00:00:00"',
        ),
        ({}, "spec.cluster", "missing"),
        ([], "spec", "expected object, got array"),
        (None, "spec", "missing"),
    ],
)
def test_refuses_a_wrong_field(spec: object, path: str, reason: str) -> None:
    """The error names the field by its JSON path, and what was expected."""
    with pytest.raises(SpecError) as caught:
        decode_document(encode({"spec": spec}))

    assert (caught.value.path, caught.value.reason) == (path, reason)
    assert not isinstance(caught.value, SyntaxSpecError)


@pytest.mark.parametrize(
    "raw", [b"", b"{", encode(PRIMARY)[:-40], b"nonsense", b"[]", b'"x"', b"\xff\xfe", b"{} {}"]
)
def test_tells_broken_json_from_a_wrong_document(raw: bytes) -> None:
    """What is no JSON object may be half a file: the next fetch may succeed."""
    with pytest.raises(SyntaxSpecError):
        decode_document(raw)


def test_refuses_endless_nesting() -> None:
    """A document that nests without end is refused like any other."""
    raw = b'{"spec": {"x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}}"

    with pytest.raises(SpecError, match="nested too deeply"):
        decode_document(raw)


def test_hash_ignores_what_is_no_content() -> None:
    """Version, operation, member order and white space do not change the content hash."""
    reordered = {
        "compute_ctl_config": PRIMARY["compute_ctl_config"],
        "spec": dict(reversed(PRIMARY["spec"].items())),
    }
    same = [
        encode(PRIMARY),
        json.dumps(reordered, indent=3).encode(),
        changed(operation_uuid=None),
        changed(generation=7),
        changed(timestamp="2026-01-01T00:00:00Z"),
        encode({**PRIMARY, "status": "attached"}),
    ]

    hashes = {decode_document(raw).content_sha256 for raw in same}

    assert 1 == len(hashes)


@pytest.mark.parametrize(
    "raw",
    [
        changed(pageserver_connstring="postgresql://other"),
        changed(storage_auth_token="new"),
        changed(unknown=1),
        encode({**PRIMARY, "compute_ctl_config": {"jwks": {"keys": []}}}),
    ],
)
def test_hash_covers_everything_else(raw: bytes) -> None:
    """A new token, key set or unknown field is another content."""
    before = decode_document(encode(PRIMARY)).content_sha256

    after = decode_document(raw).content_sha256

    assert after != before


def test_missing_config_is_an_empty_one() -> None:
    """A document without keys says the same as one with none."""
    bare = decode_document(b'{"spec": {"cluster": {}}}').content_sha256

    explicit = decode_document(
        b'{"spec": {"cluster": {}}, "compute_ctl_config": {"jwks": {"keys": []}}}'
    ).content_sha256

    assert bare == explicit


def test_carries_its_version() -> None:
    """The generation, where there is one, is the version."""
    raw = changed(generation=7, timestamp="2026-01-01T00:00:00Z")

    assert decode_document(raw).version == Version(generation=7)
