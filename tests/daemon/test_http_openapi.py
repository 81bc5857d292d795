"""Requests made from the API's own description find no error and no answer it does not describe."""

import asyncio
import json
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jwt
import pytest
import requests
import schemathesis
import urllib3
from cryptography.hazmat.primitives.asymmetric import ed25519
from hypothesis import HealthCheck, Phase, given, settings
from jwt.algorithms import OKPAlgorithm
from requests.adapters import HTTPAdapter
from schemathesis import APIOperation, Case, GenerationMode
from schemathesis.checks import CHECKS

from compute_ctl.decisions.model import Outcome
from compute_ctl.decisions.transitions import Event
from compute_ctl.http.api import Listener, Route
from compute_ctl.http.openapi import document
from compute_ctl.http.routes import ROUTES
from compute_ctl.settings import Deadlines
from devstack.installation import free_port
from tests.daemon.api import Served, serve
from tests.daemon.small_catalog import SmallCatalog

EXAMPLES = 12
TIMEOUT_S = 5.0
KEY = ed25519.Ed25519PrivateKey.generate()
TESTED = [one for one in ROUTES if one.path != "/terminate"]
"""After a termination nothing else could be asked."""
WANTED = [
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
]


class UnixAdapter(HTTPAdapter):
    """Sends all requests to a unix socket."""

    def __init__(self, path: Path) -> None:
        self._path = path
        super().__init__()

    def get_connection_with_tls_context(self, *args: object, **kwargs: object) -> "UnixPool":
        """Return the one place there is."""
        return UnixPool(self._path)


class UnixPool(urllib3.HTTPConnectionPool):
    """Connections to a unix socket."""

    def __init__(self, path: Path) -> None:
        self._path = path
        super().__init__("localhost")

    def _new_conn(self) -> "UnixConnection":
        return UnixConnection(self._path)


class UnixConnection(urllib3.connection.HTTPConnection):
    """A connection to a unix socket."""

    def __init__(self, path: Path) -> None:
        self._path = path
        super().__init__("localhost", timeout=TIMEOUT_S)

    def connect(self) -> None:
        """Connect."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(TIMEOUT_S)
        self.sock.connect(str(self._path))


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a listener is, and how to ask there."""

    base_url: str
    session: requests.Session


def end_all(served: Served) -> None:
    """Answer those who wait for an attempt or a promotion."""
    served.end_attempt(Outcome.UNCHANGED)
    served.node.promotions.end("the test")


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[Listener, Place]]:
    """All listeners of a node that serves from a thread; its attempts end as fast as they begin."""
    ready: Future[tuple[Served, asyncio.AbstractEventLoop, asyncio.Event]] = Future()
    folder = tmp_path_factory.mktemp("openapi")

    async def live() -> None:
        over = asyncio.Event()
        async with serve(
            folder,
            external_http_port=free_port(),
            catalog=SmallCatalog(),
            deadlines=Deadlines(configure=0.02),
        ) as served:
            served.trust(json.loads(OKPAlgorithm.to_jwk(KEY.public_key())))
            served.node.move(Event.PG_READY)
            ready.set_result((served, asyncio.get_running_loop(), over))
            while not over.is_set():
                await asyncio.wait({asyncio.create_task(over.wait())}, timeout=0.005)
                end_all(served)

    thread = threading.Thread(target=asyncio.run, args=(live(),))
    thread.start()
    served, loop, over = ready.result(TIMEOUT_S)
    unix, outside = requests.Session(), requests.Session()
    unix.mount("http://", UnixAdapter(served.http.socket_path))
    token = jwt.encode({"compute_id": "test", "exp": time.time() + 600}, KEY, "EdDSA")
    outside.headers["Authorization"] = f"Bearer {token}"
    try:
        yield {
            Listener.LOOPBACK: Place(
                base_url=f"http://127.0.0.1:{served.port}", session=requests.Session()
            ),
            Listener.SOCKET: Place(base_url="http://localhost", session=unix),
            Listener.EXTERNAL: Place(
                base_url=f"http://127.0.0.1:{served.external_port}", session=outside
            ),
        }
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join(TIMEOUT_S)


def described(route: Route) -> APIOperation[Any, Any, Any, Any]:
    """Return what the document says of *route*."""
    schema = schemathesis.openapi.from_dict(document(ROUTES))
    return schema[route.path][route.method]


@pytest.mark.parametrize(
    ("route", "mode"),
    [
        *((one, GenerationMode.POSITIVE) for one in TESTED),
        *((one, GenerationMode.NEGATIVE) for one in TESTED if one.query or one.body),
    ],
    ids=lambda one: getattr(one, "path", one),
)
def test_every_answer_is_described(
    places: dict[Listener, Place], route: Route, mode: GenerationMode
) -> None:
    """Good and bad requests alike: no internal error, no code, type or shape that is not told."""

    @given(case=described(route).as_strategy(generation_mode=mode))
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def ask(case: Case[Any]) -> None:
        for listener in Listener:
            place = places[listener]
            answer = case.call(base_url=place.base_url, session=place.session, timeout=TIMEOUT_S)
            case.validate_response(answer, checks=checks)
            assert (answer.status_code == 403) >= (listener not in route.listeners)
            assert answer.status_code != 500

    checks: Any = [check for check in CHECKS.get_all() if check.__name__ in WANTED]
    assert len(checks) == len(WANTED)
    ask()
