"""A daemon that does not poll, as Neon's own, is told by `POST /configure`."""

import json
from collections.abc import Iterator

import pytest

from devstack.compute import TENANT
from devstack.daemon import Daemon
from devstack.installation import binary, free_port, give_away
from devstack.postgres import Postgres
from devstack.stack import Stack, operator_text
from tests.support.fixtures import PostgresFactory


@pytest.fixture
def daemon(stack: Stack, make_postgres: PostgresFactory) -> Iterator[Daemon]:
    """It got its first document from the control plane, and asks it nothing any more."""
    external, port = free_port(), free_port()
    url = f"http://127.0.0.1:{external}"
    answer = stack.control_plane.admin("PUT", f"/v1/computes/one?push_url={url}", operator_text())
    assert 200 == answer.code
    postgres = make_postgres(
        {"shared_preload_libraries": "neon_refresh", "neon.extension_server_port": port}
    )
    config = postgres.folder / "config.json"
    config.write_text(json.dumps(stack.control_plane.spec("one").body))
    give_away(config)
    with made(postgres, port, "--config", str(config), "--external-http-port", str(external)) as it:
        yield it


def made(postgres: Postgres, port: int, *options: str) -> Daemon:
    """A daemon beside a Postgres."""
    return Daemon(
        pgdata=postgres.data,
        connstr=postgres.conninfo,
        port=port,
        log=postgres.folder / "compute_ctl.log",
        pgbin=binary("postgres"),
        compute_id="one",
        extra=options,
    )


def applied(daemon: Daemon) -> str | None:
    """The version that is in force."""
    found = daemon.status()["config"]["applied"]
    version: str | None = found["version"] if found else None
    return version


def test_push(stack: Stack, daemon: Daemon) -> None:
    """The hook of a move is 200 once the daemon has taken the document."""
    daemon.wait_status("the first document", lambda found: found["config"]["in_sync"])
    stack.wait_settled()
    mark = stack.controller.admin.mark()
    stack.controller.admin.migrate(TENANT, 2)
    stack.controller.admin.wait_event("hook_answered", since=mark, status=200)
    generation = stack.control_plane.spec("one").body["spec"]["generation"]
    assert str(generation) == applied(daemon)


def test_push_to_nobody(stack: Stack, daemon: Daemon) -> None:
    """A daemon that is down blocks nobody, and is told when it is back."""
    daemon.wait_status("the first document", lambda found: found["config"]["in_sync"])
    stack.wait_settled()
    daemon.kill()
    stack.controller.admin.migrate(TENANT, 2)
    stack.controller.admin.wait_event("migration_began", node=2)
    generation = stack.control_plane.wait(
        "the move to be published",
        "/v1/computes/one",
        lambda found: found["row"]["published"] > 1 and found["row"]["published"],
    )
    daemon.start()
    daemon.wait_status(
        "the newest document",
        lambda found: (found["config"]["applied"] or {}).get("version") == str(generation),
    )
