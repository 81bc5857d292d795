"""What is odd in a document that can be applied."""

import json
from typing import Any

import pytest
from psycopg import pq

from compute_common.document.document import decode_document
from compute_common.errors import SpecError
from compute_ctl.document.conninfo import KEYWORDS
from compute_ctl.document.lint import MAX_WARNINGS, warnings


def found(cluster: dict[str, Any] | None = None, **fields: Any) -> tuple[str, ...]:
    """Return the warnings about a document with this cluster and these fields of the spec."""
    document = {"spec": {"cluster": cluster or {}, **fields}}
    return warnings(decode_document(json.dumps(document).encode()))


def setting(name: str, value: str) -> dict[str, Any]:
    """Return a cluster with one setting."""
    return {"settings": [{"name": name, "value": value}]}


@pytest.mark.parametrize(
    ("cluster", "fields", "expected"),
    [
        (
            {"setings": []},
            {},
            'spec.cluster.setings: unknown field, ignored, did you mean "settings"?',
        ),
        (
            {},
            {"generatoin": 4},
            'spec.generatoin: unknown field, ignored, did you mean "generation"?',
        ),
        (
            {"settings": [{"name": "a", "value": "b", "vartyp": "string"}]},
            {},
            'spec.cluster.settings[0].vartyp: unknown field, ignored, did you mean "vartype"?',
        ),
        (
            {},
            {
                "pageserver_connection_info": {
                    "shard_count": 0,
                    "shards": {"0000": {"pageservers": [{"libpqurl": "x"}]}},
                }
            },
            "spec.pageserver_connection_info.shards.0000.pageservers[0].libpqurl: unknown field, "
            'ignored, did you mean "libpq_url"?',
        ),
        ({}, {"zzz": 1}, "spec.zzz: unknown field, ignored"),
        (
            setting("neon.safekeeper", "a:1"),
            {},
            'spec.cluster.settings[0]: setting "neon.safekeeper" looks like "neon.safekeepers"',
        ),
        (
            setting("primary_conninfo", "host=a hots=b"),
            {},
            'spec.cluster.settings[0].value: libpq knows no connection parameter "hots", '
            'did you mean "host"?',
        ),
        (
            setting("primary_conninfo", "port=1"),
            {},
            "spec.cluster.settings[0].value: names no host, so the server would follow itself",
        ),
        (
            setting("primary_conninfo", "host=a password=x1y2"),
            {},
            'spec.cluster.settings[0].value: "primary_conninfo" holds a secret, which goes to the '
            "server log; use passfile",
        ),
        (
            setting("my.api_secret", "x1y2"),
            {},
            'spec.cluster.settings[0].value: "my.api_secret" holds a secret, which goes to the '
            "server log; any user can read it, too",
        ),
        (
            {"postgresql_conf": "\nssl_passphrase_command = 'echo password=x1y2'\n"},
            {},
            'spec.cluster.postgresql_conf (line 2): "ssl_passphrase_command" holds a secret, which '
            "goes to the server log; keep it in a file that only the server can read",
        ),
    ],
)  # fmt: skip
def test_what_is_odd_is_named(
    cluster: dict[str, Any], fields: dict[str, Any], expected: str
) -> None:
    """The path, what is wrong, the nearest name; never the secret."""
    assert (expected,) == found(cluster, **fields)
    assert "x1y2" not in expected


def test_known_fields_that_are_not_used_are_fine() -> None:
    """All of the reference's spec is known, as are members of the answer around it."""
    document = {
        "status": "attached",
        "spec": {
            "cluster": {"cluster_id": "a", "state": "b", "roles": [], "databases": []},
            "autoprewarm": False,
            "pgbouncer_settings": {"anything": "1"},
            "mode": {"Static": "0/1"},
            "swap_size_bytes": 1,
        },
        "compute_ctl_config": {"jwks": {"keys": [{"kty": "OKP", "anything": 1}]}, "tls": None},
    }
    assert () == warnings(decode_document(json.dumps(document).encode()))
    misspelt = decode_document(json.dumps({**document, "compute_ctl_confg": {}}).encode())
    expected = 'compute_ctl_confg: unknown field, ignored, did you mean "compute_ctl_config"?'
    assert (expected,) == warnings(misspelt)


def test_the_number_of_warnings_is_bounded() -> None:
    """A document of nothing but nonsense says so, and no more."""
    fields: dict[str, Any] = {f"x{number}": 1 for number in range(1000)}
    many = found({}, **fields)
    assert MAX_WARNINGS + 1 == len(many)
    assert "and more of the kind" == many[-1]


def test_libpq_knows_the_keywords() -> None:
    """Nothing that the libpq at hand takes is called unknown."""
    taken = {option.keyword.decode() for option in pq.Conninfo.get_defaults()}
    assert set() == taken - KEYWORDS


def test_a_replica_without_a_primary_is_odd() -> None:
    """It would never receive anything."""
    expected = "spec.mode: a replica without a primary (primary_conninfo)"
    assert (expected,) == found(mode="Replica")
    assert () == found(setting("primary_conninfo", "host=a"), mode="Replica")


@pytest.mark.parametrize(
    "text",
    [
        '{"spec": {"cluster": {}, "mode": "Primary", "mode": "Replica"}}',
        '{"spec": {"cluster": {"settings": [{"name": "a", "value": "1", "value": "2"}]}}}',
        '{"spec": {"cluster": {}}, "spec": {"cluster": {}}}',
    ],
)
def test_a_key_that_stands_twice_is_refused(text: str) -> None:
    """Which of the two counts differs between readers."""
    with pytest.raises(SpecError, match=r'key "\w+" appears twice in one object'):
        decode_document(text.encode())
