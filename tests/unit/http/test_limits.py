"""What a listener may log."""

from typing import Any

import pytest
from aiohttp.test_utils import make_mocked_request

from compute_common.http.api import Route
from compute_common.http.limits import ConnectionLimits
from compute_common.http.listener import ListenerSpec
from compute_common.http.request_log import LogLimit, RequestLog, shown_path
from compute_common.http.sockets import TcpAddress
from tests.unit.common.http.serving import PORT, Desk, echo


def test_a_flood_is_not_logged() -> None:
    """A burst is, then a few a second; what was left out is counted once."""
    limit = LogLimit(burst=10, per_second=2.0)

    assert 10 == sum(limit.take(100.0) for _ in range(1000))
    assert 990 == limit.told()
    assert [True, True, False] == [limit.take(101.0) for _ in range(3)]
    assert (1, 0) == (limit.told(), limit.told())


def test_long_paths_are_cut() -> None:
    """What is usual is shown whole."""
    assert "/status" == shown_path("/status")
    assert f"/{'x' * 199}... (8000 characters)" == shown_path("/" + "x" * 7999)


@pytest.mark.parametrize(
    ("always_quiet", "code", "level"),
    [(False, 200, "DEBUG"), (False, 404, "INFO"), (True, 404, "DEBUG")],
)
def test_a_request_that_is_quiet_may_fail_aloud(
    always_quiet: bool, code: int, level: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Where the route is not quiet, but only this request of it."""
    caplog.set_level("DEBUG")
    here = frozenset({PORT})
    route: Route[Any] = Route(
        method="GET", path="/a", listeners=here, run=echo, text="", answers={}, quiet=always_quiet
    )
    listener = ListenerSpec(
        name=PORT,
        address=TcpAddress(host="127.0.0.1", port=0),
        authenticate=Desk().authenticate,
        limits=ConnectionLimits(),
    )
    log = RequestLog(program="tester", listener=listener, label=PORT, is_quiet=lambda *_: True)
    logged = log.begin(make_mocked_request("GET", "/a"), route, request_id="1", at=0.0)
    logged.end(code, at=1.0)
    assert ["DEBUG", level] == [record.levelname for record in caplog.records]
