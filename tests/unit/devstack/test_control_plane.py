"""The control plane stand-in as a process."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from devstack.client import AdminError
from devstack.launch import ControlPlane
from devstack.process import ChildError
from devstack.wait import wait_until
from tests.unit.devstack.conftest import ControlPlaneFactory
from tests.unit.devstack.plane_client import EP, QUIET, TENANT, TOKEN, Fetch, document, tag_of


def test_spec(plane: ControlPlane) -> None:
    """A compute gets its document as it was put, with a strong tag."""
    status, headers, body = Fetch(plane).answer()

    assert 200 == status
    assert json.loads(body) == document(connstring="postgresql://a", generation=1)
    assert headers["ETag"].startswith('"')
    assert headers["Preference-Applied"] is None


@pytest.mark.parametrize("token", [None, "", "wrong", TOKEN + " "])
def test_wrong_token(plane: ControlPlane, token: str | None) -> None:
    """Without the right token nothing is told, and notifications are refused too."""
    status, _, body = Fetch(plane, token=token).answer()
    plane.admin._token = token

    # HTTP strips blanks around a header's value, so the last token is the right one
    expected = 200 if token == TOKEN + " " else 401
    assert status == expected
    assert (b"spec" in body) == (expected == 200)
    if expected == 401:
        assert 401 == plane.admin.notify_attach(TENANT, {0: 1})


def test_token_from_the_environment(
    make_control_plane: ControlPlaneFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a token file the variable names the token."""
    monkeypatch.setenv("NEON_CONTROL_PLANE_TOKEN", "from the environment")
    plane = make_control_plane(token=None)

    assert 401 == Fetch(plane, token="nonsense").answer()[0]
    assert 404 == Fetch(plane, token="from the environment").answer()[0]


def test_unknown_compute(make_control_plane: ControlPlaneFactory) -> None:
    """A compute that was never put, or was deleted, is 404."""
    plane = make_control_plane()
    assert 404 == Fetch(plane).answer()[0]
    plane.admin.put_compute(EP, document())
    plane.admin.delete_compute(EP)
    assert 404 == Fetch(plane).answer()[0]


def test_empty(plane: ControlPlane) -> None:
    """A detached compute's document says so."""
    plane.admin.empty_compute(EP)

    body = json.loads(Fetch(plane).answer()[2])

    expected: dict[str, Any] = {
        "status": "empty",
        "spec": None,
        "compute_ctl_config": {"jwks": {"keys": []}},
    }
    assert body == expected


def test_conditional_fetch(plane: ControlPlane) -> None:
    """The same tag gets 304 without a body; an old one gets the news."""
    tag = tag_of(plane)

    status, headers, body = Fetch(plane, If_None_Match=f'"other", W/{tag}').answer()
    assert (status, headers["ETag"], body) == (304, tag, b"")

    plane.admin.put_compute(EP, document(generation=2))
    assert 200 == Fetch(plane, If_None_Match=tag).answer()[0]


def test_long_poll_hears_the_news(plane: ControlPlane) -> None:
    """A waiting fetch is answered at the moment of the change."""
    fetch = Fetch(plane, If_None_Match=tag_of(plane), Prefer="respond-async, wait=4")
    wait_until("the poll to wait", lambda: plane.admin.stats()["waiting"] == 1)
    assert fetch.silent_for(QUIET)

    assert 200 == plane.admin.notify_attach(TENANT, {0: 2})
    begin = time.monotonic()
    status, headers, body = fetch.answer()

    assert time.monotonic() - begin < 2
    assert (200, "wait=4") == (status, headers["Preference-Applied"])
    assert 2 == json.loads(body)["spec"]["generation"]


def test_long_poll_ends_without_news(plane: ControlPlane) -> None:
    """After the wait the answer is 304."""
    begin = time.monotonic()
    fetch = Fetch(plane, If_None_Match=tag_of(plane), Prefer="wait=1")
    status, headers, _ = fetch.answer()

    assert (304, "wait=1") == (status, headers["Preference-Applied"])
    assert time.monotonic() - begin >= 1


def test_long_poll_of_an_old_tag(plane: ControlPlane) -> None:
    """Who does not know the news does not wait."""
    status, headers, _ = Fetch(plane, If_None_Match='"old"', Prefer="wait=30").answer()

    assert (200, "wait=30") == (status, headers["Preference-Applied"])


def test_long_poll_is_capped(make_control_plane: ControlPlaneFactory) -> None:
    """The server grants less than was asked, and says so."""
    plane = make_control_plane(extra=["--max-wait", "1"])
    plane.admin.put_compute(EP, document())

    status, headers, _ = Fetch(plane, If_None_Match=tag_of(plane), Prefer="wait=60").answer()

    assert (304, "wait=1") == (status, headers["Preference-Applied"])


def test_long_poll_switched_off(plane: ControlPlane) -> None:
    """Without it a plain answer comes at once and promises nothing."""
    tag = tag_of(plane)
    plane.admin.set_long_poll(False)

    status, headers, _ = Fetch(plane, If_None_Match=tag, Prefer="wait=30").answer()

    assert (304, None) == (status, headers["Preference-Applied"])


def test_client_leaves_a_long_poll(plane: ControlPlane) -> None:
    """A poll whose client has gone is forgotten."""
    fetch = Fetch(plane, If_None_Match=tag_of(plane), Prefer="wait=30")
    wait_until("the poll to wait", lambda: plane.admin.stats()["waiting"] == 1)
    fetch.connection.close()

    wait_until("the poll to end", lambda: plane.admin.stats()["waiting"] == 0)


def test_notify_attach(plane: ControlPlane) -> None:
    """News of a move changes the document once; news that is none changes nothing."""
    assert 200 == plane.admin.notify_attach(TENANT, {0: 2})
    first = plane.admin.get_compute(EP)
    assert 200 == plane.admin.notify_attach(TENANT, {0: 2})

    info = first["spec"]["pageserver_connection_info"]
    url = info["shards"]["0000"]["pageservers"][0]["libpq_url"]
    assert "postgresql://no_user@127.0.0.1:2" == url
    assert 2 == first["spec"]["generation"]
    assert plane.admin.get_compute(EP) == first


@pytest.mark.parametrize(
    ("tenant", "shards", "stripe", "status"),
    [
        ("1" * 32, {0: 1}, None, 404),
        (TENANT, {0: 9}, None, 409),
        (TENANT, {1: 1}, None, 409),
        (TENANT, {0: 1, 1: 2}, None, 409),
        (TENANT, {0: 1, 1: 2}, 2048, 200),
    ],
)
def test_notify_attach_statuses(
    plane: ControlPlane, tenant: str, shards: dict[int, int], stripe: int | None, status: int
) -> None:
    """Only news that fits is applied."""
    before = plane.admin.get_compute(EP)

    assert plane.admin.notify_attach(tenant, shards, stripe) == status
    assert (plane.admin.get_compute(EP) == before) == (status != 200)


def test_kill_loses_nothing(plane: ControlPlane, make_control_plane: ControlPlaneFactory) -> None:
    """What was answered survives a crash."""
    plane.admin.notify_attach(TENANT, {0: 2})
    expected = plane.admin.get_compute(EP)
    plane.kill()

    again = make_control_plane(listen=plane.address)

    assert again.admin.get_compute(EP) == expected
    assert 200 == again.admin.notify_attach(TENANT, {0: 1})


def test_sigterm_ends_waiting_polls(plane: ControlPlane) -> None:
    """An orderly stop does not wait for the pollers."""
    fetch = Fetch(plane, If_None_Match=tag_of(plane), Prefer="wait=30")
    wait_until("the poll to wait", lambda: plane.admin.stats()["waiting"] == 1)

    begin = time.monotonic()
    assert 0 == plane.stop()
    assert time.monotonic() - begin < 3
    fetch.connection.close()


def test_stats(plane: ControlPlane) -> None:
    """Fetches are counted in all and by compute."""
    tag = tag_of(plane)
    Fetch(plane, If_None_Match=tag).answer()
    plane.admin.notify_attach(TENANT, {0: 2})

    stats = plane.admin.stats()

    assert (2, 1, 1) == (stats["fetches"], stats["not_modified"], stats["notifications"])
    assert stats["computes"][EP] == {
        "fetches": 2,
        "not_modified": 1,
        "long_polls": 0,
        "etag": tag_of(plane),
        "generation": 2,
    }


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("PUT", "/nodes/1", {}, 400),
        ("PUT", "/nodes/x", {"libpq_url": "a"}, 404),
        ("PUT", f"/computes/{EP}", {"status": "attached"}, 400),
        ("PUT", "/computes/nobody/empty", None, 404),
        ("GET", "/computes/nobody", None, 404),
        ("PUT", "/fault", {"kind": "nonsense"}, 400),
        ("PUT", "/fault", {"kind": "status", "code": 200}, 400),
        ("PUT", "/fault", {"kind": "slow", "route": "admin"}, 400),
        ("PUT", "/settings", {"long_poll": 1}, 400),
    ],
)
def test_bad_orders(plane: ControlPlane, method: str, path: str, body: object, status: int) -> None:
    """A bad order is refused with a reason and changes nothing."""
    before = plane.admin.stats(), plane.admin.get_compute(EP)
    with pytest.raises(AdminError) as caught:
        plane.admin._call(method, path, body)

    assert caught.value.status == status
    assert (plane.admin.stats(), plane.admin.get_compute(EP)) == before


def test_unusable_state_file(make_control_plane: ControlPlaneFactory, tmp_path: Path) -> None:
    """A broken state file ends the process with one clear line."""
    (tmp_path / "state.json").write_text("{")

    with pytest.raises(ChildError, match=r"ended with status 2\n.*cannot read state file"):
        make_control_plane()
