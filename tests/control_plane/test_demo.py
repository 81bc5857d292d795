"""The demo, from end to end."""

import json

import pytest

from tests.support.in_process import run_main


@pytest.mark.timeout(300)  # on a machine that is busy with other tests
def test_demo() -> None:
    """Both outages end without a failed query; the control plane's verdict ends the second."""
    observed, acted = json.loads(run_main("devstack.demo.__main__", "--json"))["outages"]
    assert ("observe", "act") == (observed["evidence"], acted["evidence"])
    assert ("observed", "acted") == (observed["verdict"], acted["verdict"])
    assert [0, 0] == [observed["queries_failed"], acted["queries_failed"]]
    assert all(taken is not None for taken in acted["phases_ms"].values())
    assert acted["phases_ms"]["page"] < observed["phases_ms"]["page"]
