"""The proxy in front of a control plane: what passes, and every fault as a compute sees it."""

import http.client
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from devstack.client import AdminError
from devstack.compute_control_plane import Answer, ComputeControlPlane
from devstack.fault_proxy.client import FaultProxy, Faults, FaultyControlPlane
from tests.unit.devstack.clients import QUIET

_numbers = count()


@dataclass(frozen=True, kw_only=True)
class Client:
    """A compute, the control plane as it is, and its orders."""

    compute_id: str
    real: ComputeControlPlane
    proxied: ComputeControlPlane
    """Asks the proxy; not a process of its own."""
    faults: Faults

    def put(self, work_mem: str) -> int:
        """Publish a document; its generation."""
        options = [{"name": "work_mem", "value": work_mem, "vartype": "string"}]
        document = {"spec": {"cluster": {"settings": options}}, "compute_ctl_config": {}}
        generation: int = self.real.put(self.compute_id, document)["generation"]
        return generation

    def ask(self, **headers: str) -> Answer:
        """Ask for the document through the proxy."""
        return self.proxied.spec(self.compute_id, **headers)

    def hold(self, pool: ThreadPoolExecutor) -> Future[Answer]:
        """Ask for the next document, and wait until that request is held."""
        tag = self.ask().headers["ETag"]
        held = pool.submit(self.ask, If_None_Match=tag, Prefer="wait=60")
        path = f"/v1/computes/{self.compute_id}"
        self.real.wait("a held request", path, lambda view: view["held_requests"] == 1)
        return held


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultyControlPlane]:
    """One control plane for all tests."""
    with FaultyControlPlane(tmp_path_factory.mktemp("plane")) as running:
        yield running


@pytest.fixture
def client(plane: FaultyControlPlane, tmp_path: Path) -> Client:
    """A compute with generation 1 of its document."""
    compute_id = f"ep-{next(_numbers)}"
    made = Client(
        compute_id=compute_id,
        real=plane.real,
        proxied=ComputeControlPlane(tmp_path, port=plane.proxy.port),
        faults=plane.proxy.of(compute_id),
    )
    assert 1 == made.put("1MB")
    return made


def test_all_passes(client: Client) -> None:
    """While no fault is ordered, requests and answers pass through the proxy unchanged."""
    direct, proxied = client.real.spec(client.compute_id), client.ask()

    assert (200, direct.body) == (proxied.code, proxied.body)
    for name in ("ETag", "Compute-Reports", "Content-Type"):
        assert direct.headers[name] == proxied.headers[name]
    assert 304 == client.ask(If_None_Match=direct.headers["ETag"]).code
    assert 403 == client.proxied.spec(client.compute_id, token="another").code
    assert 200 == client.proxied.report(client.compute_id, {"status": "running"}).code
    assert 404 == client.proxied.spec("nobody").code


def test_a_held_request_hears_the_news(client: Client) -> None:
    """It is held by the control plane, not by the proxy."""
    with ThreadPoolExecutor(1) as pool:
        held = client.hold(pool)
        assert 2 == client.put("2MB")

        assert 2 == held.result(10).body["spec"]["generation"]


def test_an_ordered_answer(client: Client) -> None:
    """Status and body are what was ordered, as often as that; other routes are not touched."""
    client.faults.answer(code=429, count=1)
    client.faults.answer({"status": "empty"}, route="report")

    assert 429 == client.ask().code
    assert 200 == client.ask().code
    taken = client.proxied.report(client.compute_id, {"status": "running"})
    assert {"status": "empty"} == taken.body


def test_half(client: Client) -> None:
    """A whole answer of half a document."""
    whole = client.real.spec(client.compute_id)
    client.faults.strike("half")

    found = client.ask()

    assert (200, whole.headers["ETag"]) == (found.code, found.headers["ETag"])
    assert int(whole.headers["Content-Length"]) // 2 == len(found.body)


def test_drop_until_it_is_cleared(client: Client) -> None:
    """The connection ends without an answer."""
    client.faults.strike("drop")
    for _ in range(2):
        with pytest.raises(http.client.RemoteDisconnected):
            client.ask()
    client.faults.clear()

    assert 200 == client.ask().code


def test_silent(client: Client) -> None:
    """No answer until the fault is cleared, then the connection ends."""
    client.faults.strike("silent")
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(client.ask)
        with pytest.raises(TimeoutError):
            asked.result(QUIET)
        client.faults.clear()

        with pytest.raises(http.client.RemoteDisconnected):
            asked.result(10)


def test_older(client: Client) -> None:
    """The document before the one answered last is answered again, with its own tag."""
    client.faults.strike("older")
    assert 500 == client.ask().code
    client.faults.clear()
    first = client.ask()
    client.put("2MB")
    client.ask()
    client.faults.strike("older")

    found = client.ask()

    assert (200, first.body) == (found.code, found.body)
    assert found.headers["ETag"] == first.headers["ETag"]


@pytest.mark.parametrize(
    ("order", "code"), [(lambda it: it.answer(code=503), 503), (lambda it: it.strike("half"), 200)]
)
def test_a_held_request_is_struck(
    client: Client, order: Callable[[Faults], None], code: int
) -> None:
    """A request that is held when a fault is ordered gets it in place of its answer."""
    with ThreadPoolExecutor(1) as pool:
        held = client.hold(pool)
        order(client.faults)
        client.put("2MB")

        found = held.result(10)

    assert code == found.code
    assert not isinstance(found.body, dict) or "spec" not in found.body


def test_a_control_plane_without_our_additions(client: Client) -> None:
    """It asks for no reports and holds nothing, until that is withdrawn."""
    client.faults.strike("no_reports")
    client.faults.strike("no_hold")
    tag = client.ask().headers["ETag"]

    found = client.ask(If_None_Match=tag, Prefer="wait=60")

    assert 304 == found.code
    assert {"Compute-Reports", "Preference-Applied"}.isdisjoint(found.headers)
    client.faults.clear("no_reports")
    assert "Compute-Reports" in client.ask().headers
    assert "Preference-Applied" not in client.ask(Prefer="wait=60").headers


def test_only_the_compute_that_was_named(client: Client, plane: FaultyControlPlane) -> None:
    """A fault of one compute is not another's, and is not cleared with another's."""
    another = plane.proxy.of(f"{client.compute_id}0")
    another.strike("drop")
    assert 200 == client.ask().code
    client.faults.clear()

    with pytest.raises(http.client.RemoteDisconnected):
        client.proxied.spec(f"{client.compute_id}0")


def test_nobody_behind(tmp_path: Path) -> None:
    """Where the control plane does not listen, connections end without an answer."""
    with FaultProxy("http://127.0.0.1:9", tmp_path) as proxy:
        asking = ComputeControlPlane(tmp_path, port=proxy.port)
        with pytest.raises(http.client.RemoteDisconnected):
            asking.spec("ep")


@pytest.mark.parametrize("order", [{"kind": "nonsense"}, {"kind": "drop", "color": "red"}])
def test_bad_orders(client: Client, order: dict[str, Any]) -> None:
    """They are refused, and nothing changes."""
    with pytest.raises(AdminError, match="400"):
        client.faults._order(path="/", **order)

    assert 200 == client.ask().code
