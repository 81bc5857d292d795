"""Which storage a document names for the state of the file cache."""

from typing import Any

import msgspec
import pytest

from compute_common.document.spec import ComputeSpec
from compute_common.errors import RequestError
from compute_ctl.lfc.storage import EndpointStorage

TENANT, TIMELINE = "a" * 32, "b" * 32
FULL = {
    "cluster": {},
    "tenant_id": TENANT,
    "timeline_id": TIMELINE,
    "endpoint_id": "ep-1",
    "endpoint_storage_addr": "storage:9993",
    "endpoint_storage_token": "secret",
}


def spec(**changes: Any) -> ComputeSpec:
    """Return a spec that names one, but for *changes*."""
    return msgspec.convert({**FULL, **changes}, ComputeSpec)


def test_the_place_of_a_state() -> None:
    """Of this endpoint or another one; the token is in no repr."""
    found = EndpointStorage.of(spec())
    assert (f"http://storage:9993/{TENANT}/{TIMELINE}/ep-1/lfc_state", "secret") == (
        found.url,
        found.token,
    )
    assert "secret" not in repr(found)
    assert EndpointStorage.of(spec(), "ep/2").url.endswith("/ep%2F2/lfc_state")


def test_settings_stand_in_for_the_fields() -> None:
    """As in the reference."""
    names = ("endpoint_storage_addr", "endpoint_storage_token")
    settings = [{"name": f"neon.{name}", "value": FULL[name]} for name in names]
    found = EndpointStorage.of(spec(**dict.fromkeys(names), cluster={"settings": settings}))
    assert EndpointStorage.of(spec()) == found


@pytest.mark.parametrize(
    ("changes", "endpoint", "code", "reason"),
    [
        ({"endpoint_storage_addr": None}, None, 501, "no spec.endpoint_storage_addr"),
        ({"endpoint_storage_token": None}, None, 501, "no spec.endpoint_storage_token"),
        ({"tenant_id": None}, None, 501, "no spec.tenant_id"),
        ({"timeline_id": "x"}, None, 501, "expected 32 hex digits"),
        ({"endpoint_id": None}, None, 501, "no spec.endpoint_id"),
        ({"endpoint_storage_addr": "http://a:1/x"}, None, 501, "expected host:port"),
        ({"endpoint_id": ".."}, None, 400, "spec.endpoint_id is not a name"),
        ({}, "", 400, 'parameter "from_endpoint" is not a name'),
        ({}, "x" * 256, 400, 'parameter "from_endpoint" is not a name'),
    ],
)
def test_what_is_missing_or_wrong(
    changes: dict[str, Any], endpoint: str | None, code: int, reason: str
) -> None:
    """Is named, with the field."""
    with pytest.raises(RequestError, match=reason) as caught:
        EndpointStorage.of(spec(**changes), endpoint)
    assert code == caught.value.code


def test_no_document() -> None:
    """Nothing can be done before there is one."""
    with pytest.raises(RequestError, match="no document"):
        EndpointStorage.of(None)
