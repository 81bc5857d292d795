"""Which route a path leads to, and what is said of it."""

import msgspec
import pytest

from compute_common.http.api import ApiResponse, Route
from compute_common.http.openapi import About, document
from compute_common.http.router import Router
from tests.unit.common.http.serving import Desk, route

SPEC = route("/computes/{id}/spec")
PUT_SPEC = route("/computes/{other}/spec", method="PUT")
STATS = route("/computes/stats/spec")
NODE = route("/nodes/{node}/shards/{shard}")
ROUTER = Router([SPEC, PUT_SPEC, STATS, NODE], labels={"port": "the port", "socket": "the socket"})


@pytest.mark.parametrize(
    ("method", "path", "found"),
    [
        ("GET", "/computes/a/spec", SPEC),
        ("HEAD", "/computes/a/spec", SPEC),
        ("PUT", "/computes/a/spec", PUT_SPEC),
        ("GET", "/computes/stats/spec", STATS),
        ("GET", "/nodes/1/shards/0102", NODE),
    ],
)
def test_it_finds(method: str, path: str, found: Route[Desk]) -> None:
    """A parameter is any segment, unless a route names it."""
    assert found is ROUTER.find(method, path, "port")


@pytest.mark.parametrize(
    "path",
    [
        "/computes//spec",
        "/computes/a/b/spec",
        "/computes/a/spec/",
        "/computes/a",
        "/nodes/1/x/2",
        "",
    ],
)
def test_it_does_not_find(path: str) -> None:
    """A parameter is one segment, and not empty."""
    answer = ROUTER.find("GET", path, "port")

    assert isinstance(answer, ApiResponse)
    assert (404, {"error": "no such route"}) == (answer.code, msgspec.json.decode(answer.body))


def test_a_literal_wins_wherever_it_stands() -> None:
    """Of two paths that match, the one that is literal where they first differ; in any order."""
    general, special = route("/{a}/{b}/c"), route("/{a}/b/{c}")

    for routes in (general, special), (special, general):
        assert special is Router(routes).find("GET", "/a/b/c", "port")
        assert general is Router(routes).find("GET", "/a/x/c", "port")


def test_parameters() -> None:
    """They are named as in the route."""
    assert {"node": "1", "shard": "0102"} == NODE.parameters("/nodes/1/shards/0102")
    assert {} == STATS.parameters("/computes/stats/spec")


def test_wrong_method() -> None:
    """The others of the same path are told, whatever their parameters are called."""
    answer = ROUTER.find("DELETE", "/computes/a/spec", "port")

    assert isinstance(answer, ApiResponse)
    assert (405, "GET, PUT, HEAD") == (answer.code, answer.headers["Allow"])


def test_wrong_listener() -> None:
    """Where it is served is told."""
    answer = ROUTER.find("GET", "/nodes/1/shards/2", "socket")

    assert isinstance(answer, ApiResponse)
    assert 403 == answer.code
    assert b"/nodes/1/shards/2 is served on the port, not on the socket" in answer.body


@pytest.mark.parametrize("path", ["/a", "/a/{b}"])
def test_a_route_is_given_once(path: str) -> None:
    """A second one would never be found."""
    with pytest.raises(ValueError, match="two routes for GET /a"):
        Router([route(path), route(path.replace("b", "c"))])


def test_parameters_are_described() -> None:
    """The OpenAPI document names them, and each status code has a description."""
    about = About(title="t", description="d", listeners=["port"], with_token=[])
    made = Route(
        **{name: getattr(NODE, name) for name in ("method", "path", "listeners", "run", "text")},
        answers={423: "text/plain"},
    )
    operation = document([made], about)["paths"]["/nodes/{node}/shards/{shard}"]["get"]

    assert "get_nodes_node_shards_shard" == operation["operationId"]
    assert [("node", "path", True), ("shard", "path", True)] == [
        (one["name"], one["in"], one["required"]) for one in operation["parameters"]
    ]
    assert "locked" == operation["responses"]["423"]["description"]
