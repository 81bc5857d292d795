"""What operators change over the admin API."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from control_plane.decisions.documents import read_operator_text
from control_plane.errors import StoreError
from control_plane.http.bodies import TOKEN_HEADER
from tests.unit.control_plane.http.admin_door import Admin, admin_door
from tests.unit.control_plane.http.public_door import TENANT, document

SECRET = "hunter2-hunter2"


@pytest.fixture
async def admin(tmp_path: Path) -> AsyncIterator[Admin]:
    """A control plane with a storage controller that knows the tenant on node 1."""
    async with admin_door(tmp_path) as one:
        yield one


async def test_a_put_document_is_published_at_once(admin: Admin) -> None:
    """The storage controller is asked where the tenant is; the answer tells what was published."""
    put = await admin.good("PUT", "/v1/computes/one", document())

    assert (True, False, "") == (put["changed"], put["dry_run"], put["incomplete"])
    assert 1 == put["generation"]
    assert 200 == (await admin.door.spec()).code
    again = await admin.good("PUT", "/v1/computes/one", document())
    assert (False, 1, []) == (again["changed"], again["generation"], again["differences"])


async def test_a_put_for_an_unknown_tenant_says_what_is_missing(admin: Admin) -> None:
    """It is stored and published later; the reason is that which the compute gets, too."""
    admin.door.controller.placements.clear()

    put = await admin.good("PUT", "/v1/computes/one", document())

    assert (True, 0) == (put["changed"], put["generation"])
    assert put["incomplete"]
    row = (await admin.good("GET", "/v1/computes/one"))["row"]
    assert ("incomplete", put["incomplete"]) == (row["condition"], row["why"])


async def test_a_dry_run_shows_the_difference_and_changes_nothing(admin: Admin) -> None:
    """Lines by path, and not one byte in the store."""
    await admin.good("PUT", "/v1/computes/one", document())
    before = await admin.door.store.load()

    patched = await admin.good(
        "PATCH", "/v1/computes/one/settings?dry_run=true", {"work_mem": "8MB"}
    )
    deleted = await admin.good("DELETE", "/v1/computes/one?dry_run=true")
    put = await admin.good("PUT", "/v1/computes/two?dry_run=1", document())

    assert ["spec.cluster.settings[work_mem]: (none) -> 8MB"] == patched["differences"]
    assert (True, True) == (patched["changed"], patched["dry_run"])
    assert [] != deleted["differences"]
    assert put["changed"]
    assert before == await admin.door.store.load()


async def test_settings_are_set_and_removed_together(admin: Admin) -> None:
    """All in one generation."""
    await admin.good("PUT", "/v1/computes/one", document())
    await admin.good("PATCH", "/v1/computes/one/settings", {"work_mem": "8MB", "a.b": "1"})

    body = {"work_mem": "9MB", "a.b": None}
    patched = await admin.good("PATCH", "/v1/computes/one/settings", body)

    assert 3 == patched["generation"]
    assert [
        "spec.cluster.settings[a.b]: 1 -> (none)",
        "spec.cluster.settings[work_mem]: 8MB -> 9MB",
    ] == patched["differences"]


async def test_settings_make_a_compute_of_a_stock_server(admin: Admin) -> None:
    """Without Neon a compute needs no document first."""
    patched = await admin.good(
        "PATCH", "/v1/computes/stock/settings?create=true", {"primary_conninfo": "host=db1"}
    )

    assert (1, True) == (patched["generation"], patched["changed"])


async def test_deleting_forgets_a_compute(admin: Admin) -> None:
    """Then it is unknown everywhere; who deletes twice is told."""
    await admin.good("PUT", "/v1/computes/one", document())

    assert (await admin.good("DELETE", "/v1/computes/one"))["changed"]

    assert 404 == (await admin.ask("GET", "/v1/computes/one")).code
    assert 404 == (await admin.ask("DELETE", "/v1/computes/one")).code
    assert 404 == (await admin.door.spec()).code
    kinds = [one["kind"] for one in (await admin.good("GET", "/v1/history?compute=one"))["events"]]
    assert "deleted" == kinds[0]


async def test_the_document_comes_back_as_it_was_put(admin: Admin) -> None:
    """Secrets included, for it is edited and put again; no other answer shows them."""
    settings = [{"name": "primary_conninfo", "value": f"host=db password={SECRET}"}]
    cluster = {"cluster": {"roles": [], "databases": [], "settings": settings}}
    put = await admin.ask("PUT", "/v1/computes/one", document(**cluster))

    text = await admin.ask("GET", "/v1/computes/one/document")
    view = await admin.ask("GET", "/v1/computes/one")
    page = await admin.ask("GET", "/computes/one")

    assert SECRET in str(text.body)
    assert (
        read_operator_text(document(**cluster), managed=True).raw
        == read_operator_text(json.dumps(text.body).encode(), managed=True).raw
    )
    for reply in (put, view, page):
        assert SECRET not in str(reply.body)


async def test_a_token_of_a_compute_comes_in_a_header(admin: Admin) -> None:
    """Then the shared one does not open its document any more; it is shown nowhere."""
    await admin.good("PUT", "/v1/computes/one", document(), **{TOKEN_HEADER: SECRET})

    assert 403 == (await admin.door.spec()).code
    path = "/compute/api/v2/computes/one/spec"
    assert 200 == (await admin.door.ask("GET", path, token=SECRET)).code
    assert SECRET not in str((await admin.ask("GET", "/v1/computes/one")).body)


@pytest.mark.parametrize("token", ["a b", "a\xff", "a,b"])
async def test_what_no_compute_can_show_is_no_token(admin: Admin, token: str) -> None:
    """A compute would be locked out of its document."""
    reply = await admin.ask("PUT", "/v1/computes/one", document(), **{TOKEN_HEADER: token})
    assert (400, "Compute-Token: this is not a token") == (reply.code, reply.body["error"])
    assert {} == admin.door.parts.registry.computes


@pytest.mark.parametrize(
    ("expected", "method", "path", "body"),
    [
        ((404, "unknown compute"), "GET", "/v1/computes/none", None),
        ((404, "unknown compute"), "GET", "/v1/computes/none/document", None),
        ((400, "condition"), "GET", "/v1/computes?condition=fine", None),
        ((400, "limit"), "GET", "/v1/computes?limit=0", None),
        ((400, "limit"), "GET", "/v1/history?limit=x", None),
        ((400, "node"), "GET", "/v1/history?node=-1", None),
        ((400, "dry_run"), "DELETE", "/v1/computes/one?dry_run=perhaps", None),
        ((400, "JSON"), "PUT", "/v1/computes/two", b"{"),
        ((422, "spec"), "PUT", "/v1/computes/two", {"spec": 1}),
        ((422, "compute ID"), "PUT", "/v1/computes/%20", {"spec": {"cluster": {}}}),
        ((400, "JSON"), "PUT", "/v1/computes/two", None),
        ((422, "settings"), "PATCH", "/v1/computes/two/settings", {"a": 1}),
        ((422, "settings"), "PATCH", "/v1/computes/two/settings", []),
        ((400, "JSON"), "PATCH", "/v1/computes/two/settings", b"{"),
        ((400, "JSON"), "PATCH", "/v1/computes/two/settings", b'{"\xff":"x"}'),
        ((400, "push_url"), "PUT", "/v1/computes/two?push_url=nonsense", document()),
        ((400, "push_url"), "PUT", "/v1/computes/two?push_url=http://h:99999", document()),
        ((400, "push_url"), "PUT", "/v1/computes/two?push_url=file:///etc/passwd", document()),
        ((400, "push_url"), "PUT", "/v1/computes/two?push_url=http://a,http://b", document()),
        ((400, "push_url"), "PUT", "/v1/computes/two?push_url=http://user:pw@h", document()),
        ((404, "unknown compute"), "PATCH", "/v1/computes/two/settings", {"a": "1"}),
        ((400, "remove"), "PUT", "/v1/computes/two?remove=document", document()),
        ((405, "method"), "POST", "/v1/status", {}),
        ((404, "no such route"), "GET", "/v1/nothing", None),
    ],
)
async def test_bad_requests_name_what_is_wrong(
    admin: Admin, expected: tuple[int, str], method: str, path: str, body: Any
) -> None:
    """4xx with the field and the reason; nothing is changed."""
    await admin.good("PUT", "/v1/computes/one", document())
    before = await admin.door.store.load()

    reply = await admin.ask(method, path, body)

    code, word = expected
    assert code == reply.code, reply.body
    assert word in reply.body["error"]
    assert before == await admin.door.store.load()


async def test_a_failing_store_is_503_and_changes_nothing(
    admin: Admin, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With Retry-After, and the reason."""

    async def fail(writes: object) -> int:
        raise StoreError("disk full")

    monkeypatch.setattr(admin.door.store, "commit", fail)

    reply = await admin.ask("PUT", "/v1/computes/one", document())

    assert (503, "not stored: disk full") == (reply.code, reply.body["error"])
    assert "Retry-After" in reply.headers
    assert 404 == (await admin.ask("GET", "/v1/computes/one")).code
    samples = await admin.metrics()
    assert (0, 1) == (samples["store_up"], samples["store_errors_total"])
    assert "disk full" in await admin.good("GET", "/")


async def test_reconcile_follows_the_storage_controller(admin: Admin) -> None:
    """What moved without a hook is found."""
    await admin.good("PUT", "/v1/computes/one", document())
    admin.door.locate(3)

    done = await admin.good("POST", "/v1/reconcile")

    assert {"computes_changed": 1, "failure": ""} == done
    shards = (await admin.good("GET", "/v1/computes/one"))["shards"]
    assert [3] == [one["node_id"] for one in shards]
    events = (await admin.good("GET", f"/v1/history?tenant={TENANT}"))["events"]
    assert "moved" == events[0]["kind"]


async def test_reconcile_tells_that_the_controller_is_silent(admin: Admin) -> None:
    """It is no success."""
    admin.door.controller.silent = True

    assert "does not answer" in (await admin.good("POST", "/v1/reconcile"))["failure"]
    assert 0 == (await admin.metrics())["controller_up"]
