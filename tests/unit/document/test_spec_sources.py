"""One answer to each question, whichever field of the spec gives it."""

from typing import Any

import msgspec
import pytest

from compute_common.document.spec import ComputeSpec
from compute_common.errors import SpecError
from compute_ctl.document.spec_sources import (
    Identity,
    Pageservers,
    identity,
    pageservers,
    safekeepers,
    tenant_id,
    timeline_id,
)

A, B, C = "postgresql://a:1", "postgresql://b:1", "host=c port=1"
ID = "9f3c1d5e7a804b26a1c4e85d02f7b369"
INFO = "spec.pageserver_connection_info"


def spec(settings: dict[str, str | None] | None = None, **fields: Any) -> ComputeSpec:
    """Return a spec with these fields and settings."""
    options = [{"name": name, "value": value} for name, value in (settings or {}).items()]
    return msgspec.convert({"cluster": {"settings": options}, **fields}, ComputeSpec)


def info(*urls: str | None, count: int | None = None, **more: Any) -> dict[str, Any]:
    """Return pageserver_connection_info for these shards."""
    count = (len(urls) if len(urls) > 1 else 0) if count is None else count
    shards = {
        f"{number:02x}{count:02x}": {"pageservers": [{"libpq_url": url}]}
        for number, url in enumerate(urls)
    }
    return {"shard_count": count, "shards": shards, "stripe_size": 8 if count else None, **more}


CONNSTRING = "neon.pageserver_connstring"
STRIPE = "neon.stripe_size"


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (spec(), None),
        (spec(pageserver_connection_info=info(A)), Pageservers((A,), None)),
        (spec(pageserver_connection_info=info(A, B)), Pageservers((A, B), 8)),
        (spec(pageserver_connection_info=info(A, count=1)), Pageservers((A,), 8)),
        (spec(pageserver_connstring=A), Pageservers((A,), None)),
        (spec(pageserver_connstring=f"{A}, {B},", shard_stripe_size=4), Pageservers((A, B), 4)),
        (spec({CONNSTRING: f"{A},{B}", STRIPE: "16"}), Pageservers((A, B), 16)),
        (spec({"Neon.Pageserver_ConnString": A}), Pageservers((A,), None)),
        (spec({STRIPE: "16"}), None),
        # precedence
        (
            spec({CONNSTRING: C}, pageserver_connstring=B, pageserver_connection_info=info(A)),
            Pageservers((A,), None),
        ),
        (spec({CONNSTRING: C, STRIPE: "16"}, pageserver_connstring=B), Pageservers((B,), None)),
    ],
)
def test_pageservers(found: ComputeSpec, expected: Pageservers | None) -> None:
    """Connection info comes before the connection string, and that before the settings."""
    assert pageservers(found) == expected


def test_takes_the_most_shards() -> None:
    """128 shards of 255 bytes are the limit of the server."""
    url = "postgresql://" + "h" * 242

    found = pageservers(spec(pageserver_connstring=",".join([url] * 128), shard_stripe_size=1))

    assert found == Pageservers((url,) * 128, 1)


@pytest.mark.parametrize(
    ("found", "path", "reason"),
    [
        (
            spec(pageserver_connection_info={**info(A, B), "shard_count": 3}),
            f"{INFO}.shards",
            'shard "0003" is missing',
        ),
        (
            spec(pageserver_connection_info=info(A, B, shards={"0002": {"pageservers": []}})),
            f"{INFO}.shards.0002.pageservers",
            "expected at least one pageserver",
        ),
        (
            spec(pageserver_connection_info=info(A, None)),
            f"{INFO}.shards.0102.pageservers[0].libpq_url",
            "missing",
        ),
        (
            spec(pageserver_connection_info=info(A, "port=1")),
            f"{INFO}.shards.0102.pageservers[0].libpq_url",
            "names no host",
        ),
        (
            spec(pageserver_connection_info=info(f"{A},{B}")),
            f"{INFO}.shards.0000.pageservers[0].libpq_url",
            "a connection string in a list cannot hold a comma",
        ),
        (
            spec(pageserver_connection_info=info(A, B, stripe_size=None)),
            f"{INFO}.stripe_size",
            "missing: 2 shards need a stripe size",
        ),
        (
            spec(pageserver_connection_info=info(A, B, stripe_size=0)),
            f"{INFO}.stripe_size",
            "stripe size 0 is not between 1 and 2147483647",
        ),
        (
            spec(pageserver_connection_info=info(A, shards={"zz": {"pageservers": []}})),
            f"{INFO}.shards",
            'expected four hex digits as key, got "zz"',
        ),
        (
            spec(pageserver_connection_info=info(count=129)),
            f"{INFO}.shard_count",
            "129 shards exceed the limit of 128",
        ),
        (spec(pageserver_connstring=""), "spec.pageserver_connstring", "is empty"),
        (
            spec(pageserver_connstring=f"{A},,{B}", shard_stripe_size=1),
            "spec.pageserver_connstring",
            "entry of shard 1 is empty",
        ),
        (
            spec(pageserver_connstring=f"{A},{B}"),
            "spec.shard_stripe_size",
            "missing: 2 shards need a stripe size",
        ),
        (
            spec(pageserver_connstring=f"{A}\nfsync=off"),
            "spec.pageserver_connstring",
            "a connection string cannot hold a control character",
        ),
        (
            spec(pageserver_connstring="postgresql://" + "h" * 243),
            "spec.pageserver_connstring",
            "connection string has 256 bytes, more than 255",
        ),
        (
            spec(pageserver_connstring=f"{A}," * 129, shard_stripe_size=1),
            "spec.pageserver_connstring",
            "129 shards exceed the limit of 128",
        ),
        (
            spec({"a": "1", CONNSTRING: f"{A},{B}"}),
            "spec.cluster.settings",
            "missing: 2 shards need a stripe size",
        ),
        (
            spec({STRIPE: "16MB", CONNSTRING: A}),
            "spec.cluster.settings[0].value",
            'expected a number of pages, got "16MB"',
        ),
    ],
)
def test_refuses_pageservers(found: ComputeSpec, path: str, reason: str) -> None:
    """The error names the field that must be changed."""
    with pytest.raises(SpecError) as caught:
        pageservers(found)

    assert (caught.value.path, caught.value.reason) == (path, reason)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (spec(), None),
        (spec(safekeeper_connstrings=["a:1", "b:1"]), "a:1,b:1"),
        (spec(safekeeper_connstrings=["a:1"], safekeepers_generation=4), "g#4:a:1"),
        (spec({"neon.safekeepers": "a:1,b:1"}), "a:1,b:1"),
        (spec({"neon.safekeepers": "g#7:a:1,b:1"}), "g#7:a:1,b:1"),
        (spec({"neon.safekeepers": ""}), None),
        (spec({"neon.safekeepers": "c:1"}, safekeeper_connstrings=["a:1"]), "a:1"),
    ],
)
def test_safekeepers(found: ComputeSpec, expected: str | None) -> None:
    """The list comes before the setting; its generation stands in front."""
    assert safekeepers(found) == expected


@pytest.mark.parametrize(
    ("found", "path", "reason"),
    [
        (
            spec(safekeeper_connstrings=["a:1", "b:1", "a:1"]),
            "spec.safekeeper_connstrings[2]",
            'duplicate safekeeper "a:1"',
        ),
        (
            spec(safekeeper_connstrings=["a:1", ""]),
            "spec.safekeeper_connstrings[1]",
            'expected host:port, got ""',
        ),
        (
            spec(safekeeper_connstrings=["a"]),
            "spec.safekeeper_connstrings[0]",
            'expected host:port, got "a"',
        ),
        (
            spec(safekeeper_connstrings=["a:1\n"]),
            "spec.safekeeper_connstrings[0]",
            'expected host:port, got "a:1\\x0a"',
        ),
        (
            spec({"neon.safekeepers": "g#1:a:1,a:1"}),
            "spec.cluster.settings[0].value",
            'duplicate safekeeper "a:1"',
        ),
    ],
)
def test_refuses_safekeepers(found: ComputeSpec, path: str, reason: str) -> None:
    """Two votes for one safekeeper, or an entry the walproposer cannot use."""
    with pytest.raises(SpecError) as caught:
        safekeepers(found)

    assert (caught.value.path, caught.value.reason) == (path, reason)


def test_identity() -> None:
    """Field before setting, in lower case."""
    found = spec({"neon.timeline_id": ID, "neon.tenant_id": "0" * 32}, tenant_id=ID.upper())

    assert (ID, ID) == (tenant_id(found), timeline_id(found))
    assert identity(found) == Identity(ID, ID)
    assert identity(spec()) == Identity(None, None)


@pytest.mark.parametrize(
    ("found", "path"),
    [
        (spec(tenant_id="x" * 32), "spec.tenant_id"),
        (spec(tenant_id=ID + "00"), "spec.tenant_id"),
        (spec({"neon.tenant_id": "12"}), "spec.cluster.settings[0].value"),
    ],
)
def test_refuses_an_id(found: ComputeSpec, path: str) -> None:
    """An id is 32 hex digits."""
    with pytest.raises(SpecError, match="expected 32 hex digits") as caught:
        identity(found)

    assert caught.value.path == path
