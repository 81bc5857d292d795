"""Every fault of the control plane stand-in, as a compute sees it."""

import http.client
import json

import pytest

from devstack.launch import ControlPlane
from tests.unit.devstack.plane_client import EP, QUIET, TENANT, Fetch, document


def test_busy(plane: ControlPlane) -> None:
    """A busy control plane applies nothing until the same news comes again."""
    plane.admin.set_fault("busy", route="notify", count=1)
    before = plane.admin.get_compute(EP)

    assert 423 == plane.admin.notify_attach(TENANT, {0: 2})
    assert plane.admin.get_compute(EP) == before
    assert 200 == plane.admin.notify_attach(TENANT, {0: 2})
    assert plane.admin.get_compute(EP) != before


def test_status_fault(plane: ControlPlane) -> None:
    """A status of choice, with the time to come again."""
    plane.admin.set_fault("status", code=429, retry_after=7, count=1)

    status, headers, _ = Fetch(plane).answer()

    assert (429, "7") == (status, headers["Retry-After"])
    assert 200 == Fetch(plane).answer()[0]


def test_unauthorized_fault(plane: ControlPlane) -> None:
    """A good token is refused until the fault is cleared."""
    plane.admin.set_fault("unauthorized")
    assert [401, 401] == [Fetch(plane).answer()[0] for _ in range(2)]
    assert 1 == plane.admin.clear_faults()
    assert 200 == Fetch(plane).answer()[0]


@pytest.mark.parametrize("kind", ["garbage", "half_json"])
def test_undecodable_answers(plane: ControlPlane, kind: str) -> None:
    """Status 200 with a body that is no JSON document."""
    plane.admin.set_fault(kind, count=1)

    status, _, body = Fetch(plane).answer()

    assert 200 == status
    with pytest.raises(ValueError):  # noqa: PT011 - not UTF-8, or not JSON
        json.loads(body)


def test_drop(plane: ControlPlane) -> None:
    """The connection ends without an answer."""
    plane.admin.set_fault("drop", count=1)

    with pytest.raises(http.client.RemoteDisconnected):
        Fetch(plane).answer()


def test_silent(plane: ControlPlane) -> None:
    """No answer until the fault is cleared, then the connection ends."""
    plane.admin.set_fault("silent", count=1)
    fetch = Fetch(plane)
    assert fetch.silent_for(QUIET)
    plane.admin.clear_faults()

    with pytest.raises(http.client.RemoteDisconnected):
        fetch.answer()


def test_slow(plane: ControlPlane) -> None:
    """The right answer, late."""
    plane.admin.set_fault("slow", delay_ms=200, count=1)
    fetch = Fetch(plane)

    assert fetch.silent_for(QUIET)
    assert 200 == fetch.answer()[0]


def test_older(plane: ControlPlane) -> None:
    """A lagging answer: the document before the last change, or the generation before."""
    plane.admin.set_fault("older", count=2)
    assert 0 == json.loads(Fetch(plane).answer()[2])["spec"]["generation"]
    plane.admin.notify_attach(TENANT, {0: 2})

    body = json.loads(Fetch(plane).answer()[2])

    assert body == document(connstring="postgresql://a", generation=1)
    assert 2 == json.loads(Fetch(plane).answer()[2])["spec"]["generation"]
