"""The state of the file cache is kept and loaded; Neon's functions are stand-ins in SQL."""

import http.client
from collections.abc import Iterator
from typing import Any

import pytest
import zstandard

from devstack.compute import TENANT, TIMELINE, Compute
from devstack.document import attached
from devstack.endpoint_storage import EndpointStorage
from devstack.wait import wait_until
from tests.support.queries import running_queries

TOKEN = "storage-secret"
ENDPOINT = "ep-blue"
FUNCTIONS = """
create schema neon;
create table neon.cache (state bytea);
create table neon.loaded (state bytea);
create function neon.get_local_cache_state(max_chunks integer default null) returns bytea
language sql as 'select state from neon.cache';
create function neon.prewarm_local_cache(state bytea, n_workers integer default 1) returns void
language plpgsql as $$ begin
insert into neon.loaded values (state);
if state = 'slow' then perform pg_sleep(600); end if;
end $$;
create function neon.get_prewarm_info(out total_pages integer, out prewarmed_pages integer,
out skipped_pages integer, out active_workers integer) language sql as 'select 10, 7, 3, 0'
"""

RUNNING = """
select count(*) from pg_stat_activity
where application_name = 'compute_ctl:file_cache' and state = 'active' and query like '%prewarm%'
"""


@pytest.fixture
def storage(compute: Compute) -> Iterator[EndpointStorage]:
    """A storage for the compute."""
    with EndpointStorage(TOKEN, compute.folder) as running:
        yield running


def publish(compute: Compute, storage: EndpointStorage | None, **spec: Any) -> None:
    """Publish a document that names the storage."""
    document = attached(tenant=TENANT, timeline=TIMELINE, connstring="postgresql://no_user@ps:1")
    document["spec"] |= {"endpoint_id": ENDPOINT, **spec}
    if storage is not None:
        document["spec"] |= {
            "endpoint_storage_addr": storage.address,
            "endpoint_storage_token": TOKEN,
        }
    compute.publish_document(document)


def start(
    compute: Compute, storage: EndpointStorage | None, functions: str = FUNCTIONS, **spec: Any
) -> None:
    """Make the functions, and start the daemon."""
    compute.postgres.query(functions)
    publish(compute, storage, **spec)
    compute.start_daemon()


def ask(compute: Compute, method: str, path: str) -> tuple[int, Any]:
    """Ask the daemon."""
    return compute.daemon.call(method, f"/lfc/{path}")


def ended(compute: Compute, what: str) -> dict[str, Any]:
    """Wait until a prewarm or an offload has ended; return its state."""

    def state() -> dict[str, Any] | None:
        code, found = ask(compute, "GET", what)
        assert 200 == code
        return found if found["status"] not in ("prewarming", "offloading") else None

    found: dict[str, Any] | None = wait_until(f"the end of the {what}", state)
    assert found is not None
    return found


def stored(storage: EndpointStorage, method: str, body: bytes | None = None) -> bytes:
    """Ask the storage itself."""
    connection = http.client.HTTPConnection(storage.host, storage.port, timeout=30)
    path = f"/{TENANT}/{TIMELINE}/{ENDPOINT}/lfc_state"
    connection.request(method, path, body, {"Authorization": f"Bearer {TOKEN}"})
    answer = connection.getresponse()
    found = answer.read()
    connection.close()
    return found


def loaded(compute: Compute) -> list[bytes]:
    """What the stand-in was given."""
    return [row[0] for row in compute.postgres.query("select state from neon.loaded")]


def test_there_and_back(compute: Compute, storage: EndpointStorage) -> None:
    """The state is kept compressed, and loaded again; another endpoint can load it, too."""
    start(compute, storage)
    assert (200, {"status": "not_prewarmed"}) == ask(compute, "GET", "prewarm")
    assert (200, {"status": "not_offloaded"}) == ask(compute, "GET", "offload")
    assert (202, None) == ask(compute, "POST", "offload")
    assert {"status": "skipped"} == ended(compute, "offload")
    assert (202, None) == ask(compute, "POST", "prewarm")
    assert {"status": "skipped"} == ended(compute, "prewarm")
    compute.postgres.query("insert into neon.cache values (decode(repeat('ab', 100000), 'hex'))")

    ask(compute, "POST", "offload")
    done = ended(compute, "offload")

    state = b"\xab" * 100_000
    assert "completed" == done.pop("status")
    assert {"state_query_time_ms", "compress_time_ms", "state_upload_time_ms"} == set(done)
    raw = stored(storage, "GET")
    assert len(raw) < 1000
    assert state == zstandard.ZstdDecompressor().decompress(raw)
    publish(compute, storage, endpoint_id="ep-green")
    compute.daemon.refresh()
    ask(compute, "POST", f"prewarm?from_endpoint={ENDPOINT}")
    done = ended(compute, "prewarm")
    assert ("completed", 10, 7, 3) == tuple(
        done[name] for name in ("status", "total", "prewarmed", "skipped")
    )
    assert [state] == loaded(compute)
    for name, count in (("prewarms", 2), ("prewarm_errors", 0), ("offloads", 2)):
        assert count == compute.daemon.metric(f"compute_ctl_lfc_{name}_total")
    assert TOKEN not in compute.daemon.log_text()


def test_where_it_cannot_be_done(compute: Compute, storage: EndpointStorage) -> None:
    """Without a storage in the document, or the functions in the server: 501 with the reason."""
    publish(compute, None)
    compute.start_daemon()
    reason = {"error": "the document has no spec.endpoint_storage_addr"}
    for method in ("GET", "POST", "DELETE"):
        assert (501, reason) == ask(compute, method, "prewarm")
    publish(compute, storage)
    compute.daemon.refresh()
    reason = {"error": "the server has no function neon.get_local_cache_state"}
    assert (501, reason) == ask(compute, "POST", "offload")
    assert 400 == ask(compute, "POST", "prewarm?from_endpoint=..")[0]
    compute.postgres.stop()
    compute.daemon.wait_status("the end of postgres", lambda it: not it["postgres"]["ready"])
    assert 503 == ask(compute, "POST", "offload")[0]


def test_one_at_a_time_and_cancelled(compute: Compute, storage: EndpointStorage) -> None:
    """A second prewarm is refused; one that is cancelled ends in the server, too."""
    start(compute, storage)
    stored(storage, "PUT", zstandard.compress(b"slow"))
    ask(compute, "POST", "prewarm")
    wait_until("the prewarm in the server", lambda: 1 == compute.postgres.value(RUNNING))

    code, body = ask(compute, "POST", "prewarm")
    assert (429, "Multiple requests for prewarm are not allowed") == (code, body["error"])
    assert (202, None) == ask(compute, "DELETE", "prewarm")
    assert {"status": "cancelled"} == ended(compute, "prewarm")
    wait_until("its end in the server", lambda: 0 == compute.postgres.value(RUNNING))
    stored(storage, "PUT", zstandard.compress(b"fast"))
    ask(compute, "POST", "prewarm")
    assert "completed" == ended(compute, "prewarm")["status"]


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"no zstandard", "cannot be decompressed"),
        (zstandard.compress(bytes(9 << 20)), "longer than"),
    ],
)
def test_what_is_stored_is_not_trusted(
    compute: Compute, storage: EndpointStorage, raw: bytes, reason: str
) -> None:
    """It fails with the reason, and Postgres is not bothered with it."""
    start(compute, storage)
    stored(storage, "PUT", raw)
    ask(compute, "POST", "prewarm")
    failed = ended(compute, "prewarm")
    assert "failed" == failed["status"]
    assert reason in failed["error"]
    assert [] == loaded(compute)
    assert 1 == compute.daemon.metric("compute_ctl_lfc_prewarm_errors_total")


def test_a_storage_that_fails(compute: Compute, storage: EndpointStorage) -> None:
    """The reason is shown; the next attempt may succeed."""
    start(compute, storage)
    compute.postgres.query("insert into neon.cache values ('state')")
    storage.set_fault(500)
    ask(compute, "POST", "offload")
    expected = {"status": "failed", "error": "the endpoint storage answered 500: ordered"}
    assert expected == ended(compute, "offload")
    storage.set_fault(None)
    ask(compute, "POST", "offload")
    assert "completed" == ended(compute, "offload")["status"]
    storage.kill()
    ask(compute, "POST", "prewarm")
    assert "could not reach the endpoint storage" in ended(compute, "prewarm")["error"]


def test_without_being_asked(compute: Compute, storage: EndpointStorage) -> None:
    """At intervals, and once after each start of the server."""
    start(compute, storage, autoprewarm=True, offload_lfc_interval_seconds=1)
    compute.postgres.query("insert into neon.cache values ('state')")
    wait_until("an offload", lambda: "completed" == ask(compute, "GET", "offload")[1]["status"])
    assert [] == loaded(compute)
    compute.postgres.stop()
    compute.postgres.start()
    wait_until("a prewarm", lambda: "completed" == ask(compute, "GET", "prewarm")[1]["status"])
    assert [b"state"] == loaded(compute)


def test_a_heal_is_not_delayed(compute: Compute, storage: EndpointStorage) -> None:
    """A prewarm in Postgres and an offload that hangs at the storage are in nobody's way."""
    scan = compute.fill(20_000)
    a, b = compute.pageserver("a"), compute.pageserver("b")
    start(compute, storage)
    publish(compute, storage, pageserver_connstring=a.url)
    compute.daemon.refresh()
    stored(storage, "PUT", zstandard.compress(b"slow"))
    compute.postgres.query("insert into neon.cache values ('state')")
    ask(compute, "POST", "prewarm")
    wait_until("the prewarm in the server", lambda: 1 == compute.postgres.value(RUNNING))
    storage.set_fault(0)
    ask(compute, "POST", "offload")
    with running_queries(compute.postgres.connect) as begin:
        query = begin(scan)
        a.kill()
        publish(compute, storage, pageserver_connstring=b.url)
        assert 20_000 == query.value()
    assert "prewarming" == ask(compute, "GET", "prewarm")[1]["status"]
    assert "offloading" == ask(compute, "GET", "offload")[1]["status"]
    assert (202, None) == ask(compute, "DELETE", "prewarm")


def test_functions_that_somebody_else_has_made(compute: Compute, storage: EndpointStorage) -> None:
    """A superuser does not call them: whoever made them would be one."""
    compute.postgres.query("create role mallory; grant create on database postgres to mallory")
    compute.postgres.query("create schema neon authorization mallory")
    start(compute, storage, "set role mallory;" + FUNCTIONS.replace("create schema neon;", ""))

    code, body = ask(compute, "POST", "prewarm")

    assert (501, "the server has no function neon.get_local_cache_state") == (code, body["error"])


def test_a_server_that_does_not_say_how_it_went(compute: Compute, storage: EndpointStorage) -> None:
    """The prewarm has failed; the daemon lives."""
    silent = "returns setof record language sql as 'select 1, 1, 1, 1 limit 0'"
    start(compute, storage, FUNCTIONS.replace("language sql as 'select 10, 7, 3, 0'", silent))
    stored(storage, "PUT", zstandard.compress(b"fast"))
    ask(compute, "POST", "prewarm")
    failed = {"status": "failed", "error": "neon.get_prewarm_info returned 0 rows"}
    assert failed == ended(compute, "prewarm")
