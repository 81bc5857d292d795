"""Documents of the control plane: composed, published, accepted by both daemons."""

from __future__ import annotations

import msgspec
import pytest

from compute_common.errors import SpecError
from control_plane.decisions import documents
from control_plane.decisions.documents import Incomplete
from control_plane.decisions.model import (
    NodeList,
    Placement,
    Safekeeper,
    SafekeeperSet,
    StorageSafekeeper,
    TenantRecord,
)
from tests.unit.control_plane.records import (
    TENANT,
    TIMELINE,
    composed,
    node,
    nodes,
    placed,
    published,
    record,
    text,
)


def with_safekeepers(generation: int, *ids: int) -> TenantRecord:
    """Return the tenant on node 1, with safekeepers."""
    keepers = tuple(Safekeeper(id=one, hostname="not-to-be-used") for one in ids)
    known = {TIMELINE: SafekeeperSet(generation=generation, safekeepers=keepers)}
    return msgspec.structs.replace(placed(1), safekeepers=known)


def test_an_unsharded_tenant_has_the_key_0000() -> None:
    """And the legacy string says the same."""
    spec = published(record(), placed(2))["spec"]
    url = "postgresql://no_user@ps-2:6400"
    assert {
        "shard_count": 0,
        "stripe_size": None,
        "prefer_protocol": "libpq",
        "shards": {"0000": {"pageservers": [{"id": 2, "libpq_url": url}]}},
    } == spec["pageserver_connection_info"]
    assert url == spec["pageserver_connstring"]
    assert "shard_stripe_size" not in spec


def test_shards_are_keyed_by_number_and_count() -> None:
    """Two hex digits each; the legacy string has them in the order of their numbers."""
    spec = published(record(), placed(3, 1, 3, stripe_size=2048))["spec"]
    info = spec["pageserver_connection_info"]
    assert ["0003", "0103", "0203"] == sorted(info["shards"])
    assert [3, 1, 3] == [info["shards"][f"0{it}03"]["pageservers"][0]["id"] for it in range(3)]
    hosts = [one.partition("@")[2] for one in spec["pageserver_connstring"].split(",")]
    assert ["ps-3:6400", "ps-1:6400", "ps-3:6400"] == hosts
    assert (2048, 2048) == (info["stripe_size"], spec["shard_stripe_size"])


def test_one_shard_of_one_is_as_unsharded() -> None:
    """As the notifications have it, so that `locate` and they give the same document."""
    one = Placement(nodes=(2,), shard_count=1, stripe_size=2048)
    sharded = TenantRecord(tenant_id=TENANT, placement=one)
    assert composed(record(), placed(2)) == composed(record(), sharded)


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("10.0.0.7", "10.0.0.7:6400"),
        ("fd00::7", "[fd00::7]:6400"),
        ("[fd00::7]", "[fd00::7]:6400"),
        ("ps_1.internal", "ps_1.internal:6400"),
        ("a,b@c", "a%2Cb%40c:6400"),
    ],
)
def test_hosts_in_urls(host: str, expected: str) -> None:
    """IPv6 in brackets; nothing that ends the host."""
    known = NodeList(nodes=(node(1, host),))
    spec = published(record(), placed(1), known=known)["spec"]
    assert f"postgresql://no_user@{expected}" == spec["pageserver_connstring"]


@pytest.mark.parametrize(
    ("tenant", "reason"),
    [
        (None, f'it is not known where tenant "{TENANT}" is'),
        (TenantRecord(tenant_id=TENANT), f'it is not known where tenant "{TENANT}" is'),
        (placed(9), "node 9 is not in the storage controller's list"),
        (placed(1, 2), "2 places are known for 1 shards"),
        (
            TenantRecord(tenant_id=TENANT, placement=Placement(nodes=(1, 2), shard_count=2)),
            "the stripe size of 2 shards is not known",
        ),
        (placed(*[1] * 129, stripe_size=8), "129 shards exceed the limit of 128"),
        (with_safekeepers(3, 1, 9), "safekeeper 9 is not in the storage controller's list"),
    ],
)
def test_what_is_missing_is_named(tenant: TenantRecord | None, reason: str) -> None:
    """Then there is no document."""
    found = documents.compose(record(), tenant, nodes(1, 2), managed=True)
    assert Incomplete(reason=reason) == found


def test_the_storage_decides_where_it_is_managed() -> None:
    """What the operator says of pageservers is dropped, and warned of."""
    settings = [
        {"name": "Neon.Pageserver_connstring", "value": "host=old", "vartype": "string"},
        {"name": "neon.stripe_size", "value": "8", "vartype": "integer"},
        {"name": "work_mem", "value": "8MB", "vartype": "string"},
    ]
    raw = text(
        pageserver_connstring="postgresql://old:1",
        shard_stripe_size=8,
        generation=99,
        cluster={"settings": settings},
    )
    read = documents.read_operator_text(raw, managed=True)
    assert (
        "spec.generation: ignored, the control plane counts",
        "spec.pageserver_connstring: ignored, the storage controller decides",
        "spec.shard_stripe_size: ignored, the storage controller decides",
        "spec.cluster.settings[0]: ignored, the storage controller decides",
        "spec.cluster.settings[1]: ignored, the storage controller decides",
    ) == read.warnings
    spec = published(record(raw), placed(1))["spec"]
    assert "postgresql://no_user@ps-1:6400" == spec["pageserver_connstring"]
    assert ["work_mem"] == [it["name"] for it in spec["cluster"]["settings"]]
    assert 1 == spec["generation"]


@pytest.mark.parametrize("managed", [False, True])
def test_a_text_without_tenant_is_published_as_it_is(managed: bool) -> None:
    """A stock server; only the generation is ours."""
    settings = [{"name": "primary_conninfo", "value": "host=db-1", "vartype": "string"}]
    raw = text(tenant_id=None, timeline_id=None, cluster={"settings": settings}, mode="Replica")
    spec = published(record(raw, managed=managed), None, managed=managed)["spec"]
    assert (settings, 1) == (spec["cluster"]["settings"], spec["generation"])


def test_unmanaged_servers_are_the_operators() -> None:
    """Without a storage controller the text is what is published."""
    raw = text(pageserver_connstring="postgresql://mine:1", safekeeper_connstrings=["a:1"])
    assert () == documents.read_operator_text(raw, managed=False).warnings
    spec = published(record(raw, managed=False), placed(1), managed=False)["spec"]
    assert "postgresql://mine:1" == spec["pageserver_connstring"]
    assert ["a:1"] == spec["safekeeper_connstrings"]
    assert "pageserver_connection_info" not in spec


@pytest.mark.parametrize(
    ("own", "known", "expected"),
    [
        (None, None, (["own:1"], None)),
        (None, 0, (["sk-2:5454", "sk-4:5454"], 0)),
        (3, 2, (["own:1"], 3)),
        (3, 3, (["sk-2:5454", "sk-4:5454"], 3)),
        (3, 4, (["sk-2:5454", "sk-4:5454"], 4)),
    ],
)
def test_the_newer_safekeepers_count(
    own: int | None, known: int | None, expected: tuple[list[str], int | None]
) -> None:
    """The operator's until the storage controller names newer ones."""
    raw = text(safekeeper_connstrings=["own:1"], safekeepers_generation=own)
    tenant = placed(1) if known is None else with_safekeepers(known, 2, 4)
    spec = published(record(raw), tenant)["spec"]
    found = (spec["safekeeper_connstrings"], spec.get("safekeepers_generation"))
    assert expected == found


def test_a_host_name_of_a_notification_is_not_used() -> None:
    """It is for people, and has no port; what is published of a generation must stay."""
    known = NodeList(nodes=nodes(1).nodes)
    found = documents.compose(record(), with_safekeepers(1, 2), known, managed=True)
    assert Incomplete(reason="safekeeper 2 is not in the storage controller's list") == found


def test_two_safekeepers_at_one_address_are_refused() -> None:
    """Neon's daemon takes no duplicates."""
    same = tuple(StorageSafekeeper(id=one, host="sk", port=5454) for one in (7, 8))
    known = NodeList(nodes=nodes(1).nodes, safekeepers=same)
    found = documents.compose(record(), with_safekeepers(1, 7, 8), known, managed=True)
    reason = 'safekeepers 7 and 8 are both at "sk:5454"'
    assert Incomplete(reason=reason) == found


def test_what_neons_daemon_requires_is_there() -> None:
    """Fields that our own daemon does not miss."""
    raw = text(cluster={"settings": [{"name": "a", "value": "1"}]})
    answer = published(record(raw), placed(1))
    spec = answer["spec"]
    assert ("attached", {"jwks": {"keys": []}}) == (answer["status"], answer["compute_ctl_config"])
    assert (1.0, -1) == (spec["format_version"], spec["suspend_timeout_seconds"])
    assert ([], []) == (spec["cluster"]["roles"], spec["cluster"]["databases"])
    assert "string" == spec["cluster"]["settings"][0]["vartype"]


def test_keys_go_to_computes_that_are_pushed_to() -> None:
    """Once, beside those of the operator."""
    own, ours = {"kty": "OKP", "kid": "own"}, {"kty": "OKP", "kid": "ours"}
    parts = msgspec.json.decode(text()) | {"compute_ctl_config": {"jwks": {"keys": [own]}}}
    pulls = record(msgspec.json.encode(parts))
    pushed = msgspec.structs.replace(pulls, push_url="http://one:3080")
    answers = [published(it, placed(1), keys=[ours, own]) for it in (pulls, pushed)]
    found = [answer["compute_ctl_config"]["jwks"]["keys"] for answer in answers]
    assert [[own], [own, ours]] == found


def test_tenant_and_timeline_may_be_settings() -> None:
    """As both daemons read them; in lower case."""
    settings = [
        {"name": "neon.tenant_id", "value": TENANT.upper()},
        {"name": "neon.timeline_id", "value": TIMELINE},
    ]
    read = documents.read_operator_text(
        text(tenant_id=None, timeline_id=None, cluster={"settings": settings}), managed=True
    )
    assert (TENANT, TIMELINE) == (read.tenant_id, read.timeline_id)


@pytest.mark.parametrize(
    ("raw", "path"),
    [
        (b"{", "line 1, column 2"),
        (b'{"spec":null}', "spec"),
        (b'{"spec":{}}', "spec.cluster"),
        (text(tenant_id="x"), "spec.tenant_id"),
        (text(cluster={"settings": [{"value": "1"}]}), "spec.cluster.settings[0].name"),
    ],
)
def test_a_bad_text_is_refused_with_its_place(raw: bytes, path: str) -> None:
    """The field, or line and column."""
    with pytest.raises(SpecError) as caught:
        documents.read_operator_text(raw, managed=True)
    assert path == caught.value.path
