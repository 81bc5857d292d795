"""What callers ask of Postgres through the daemon: schemas, extensions, grants, insights."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from compute_ctl.decisions.transitions import Event
from devstack.installation import free_port
from tests.daemon.api import Served, Wire, serve
from tests.daemon.signing import KEY, token, trust
from tests.daemon.small_catalog import SmallCatalog


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    """A node behind all three listeners, which trusts KEY."""
    async with serve(tmp_path, external_http_port=free_port(), catalog=SmallCatalog()) as one:
        trust(one, KEY)
        one.node.move(Event.PG_READY)
        yield one


async def test_what_postgres_is_asked(served: Served) -> None:
    """The reference's shapes: insights are JSON in a JSON string, a write is `true`."""
    bodies = {
        path: (await served.external(method, path, token=token(), body=b"")).json
        for method, path in (
            ("GET", "/dbs_and_roles"),
            ("GET", "/insights"),
            ("POST", "/check_writability"),
        )
    }
    assert {
        "/dbs_and_roles": {"roles": [{"name": "r"}], "databases": [{"name": "d"}]},
        "/insights": '{"pg_stat_statements":[]}',
        "/check_writability": True,
    } == bodies


async def test_schema_is_streamed(served: Served) -> None:
    """A dump comes in pieces; one that fails on the way is broken off, not cut short unseen."""
    async with Wire.tcp(served.external_port) as wire:
        ask = "GET /database_schema?database={} HTTP/1.1\r\nHost: x\r\n"
        ask += "Authorization: Bearer {}\r\n\r\n"
        wire.writer.write(ask.format("d", token()).encode())
        whole = await wire.reader.readuntil(b"0\r\n\r\n")
        assert b"CREATE TABLE t ();\n" in whole
        assert b"-- end\n" in whole
        wire.writer.write(ask.format("bad", token()).encode())
        try:
            rest = await wire.reader.read()
        except ConnectionError:
            rest = b""
        assert not rest.endswith(b"0\r\n\r\n")


async def test_schema_of_what_is_not_there(served: Served) -> None:
    """A database is to be named, and to exist."""
    missing = await served.external("GET", "/database_schema?database=missing", token=token())
    assert (404, {"error": "database does not exist"}) == (missing.code, missing.json)
    assert 400 == (await served.external("GET", "/database_schema", token=token())).code
    head = await served.external("HEAD", "/database_schema?database=d", token=token())
    assert 200 == head.code


async def test_extension_and_grant(served: Served) -> None:
    """Both answer 201 and what was asked for; what Postgres refuses is 500 with its reason."""
    body = {"extension": "pageinspect", "database": "d", "version": "1.0"}
    made = await served.external("POST", "/extensions", json_body=body, token=token())
    assert (201, {"extension": "pageinspect", "version": "1.0"}) == (made.code, made.json)
    bad = await served.external(
        "POST", "/extensions", json_body=body | {"extension": "bad"}, token=token()
    )
    expected = {"error": "failed to install extension: no such extension"}
    assert (500, expected) == (bad.code, bad.json)
    grant = {"database": "d", "schema": "s", "role": "r", "privileges": ["SELECT", "USAGE"]}
    granted = await served.external("POST", "/grants", json_body=grant, token=token())
    assert (granted.code, granted.json) == (201, grant)
    catalog: Any = served.http.api.catalog
    assert [("d", "s", "r", ("SELECT", "USAGE"))] == catalog.granted
    wrong = grant | {"privileges": ["select"]}
    assert 422 == (await served.external("POST", "/grants", json_body=wrong, token=token())).code


async def test_state_of_the_compute_matters(tmp_path: Path) -> None:
    """What needs Postgres is 412 without a document, 503 without Postgres, 501 without a port."""
    async with serve(tmp_path, catalog=SmallCatalog()) as served:
        reply = await served.socket("GET", "/insights")
        assert (412, {"error": "invalid compute status: empty"}) == (reply.code, reply.json)
        served.node.move(Event.PG_READY)
        served.postgres.ready = False
        assert 503 == (await served.socket("GET", "/insights")).code
    async with serve(tmp_path) as served:
        served.node.move(Event.PG_READY)
        assert 501 == (await served.socket("GET", "/insights")).code


@pytest.mark.parametrize(("opened", "code"), [(False, 403), (True, 201)])
async def test_extensions_on_loopback(tmp_path: Path, opened: bool, code: int) -> None:
    """What any local process could abuse is served to it only where the operator wants that."""
    body = {"extension": "pageinspect", "database": "d", "version": "1.0"}
    async with serve(tmp_path, catalog=SmallCatalog(), extensions_on_loopback=opened) as served:
        served.node.move(Event.PG_READY)
        reply = await served.loopback("POST", "/extensions", json_body=body)
        assert code == reply.code
        assert 403 == (await served.loopback("GET", "/insights")).code
