"""Documents reach computes, and follow the storage."""

from pathlib import Path

from devstack.compute import TENANT
from devstack.stack import Stack, setting
from tests.control_plane.conftest import StackFactory
from tests.support.certificates import certificate


def test_first_document(stack: Stack) -> None:
    """A compute gets the operator's settings, and the servers from the storage controller."""
    cluster = {"roles": [], "databases": [], "settings": [setting("work_mem", "7MB")]}
    one = stack.add_compute("one", cluster=cluster)
    assert stack.server(1) == one.setting("neon.pageserver_connstring")
    assert "7168" == one.setting("work_mem")


def test_first_document_over_tls(make_stack: StackFactory, tmp_path: Path) -> None:
    """The same, where nobody else can read it."""
    folder = tmp_path / "tls"
    folder.mkdir()
    stack = make_stack(tls=certificate(folder))
    one = stack.add_compute("one")
    assert stack.server(1) == one.setting("neon.pageserver_connstring")


def test_lost_hook(stack: Stack) -> None:
    """A compute that is turned away by its old pageserver heals although the hook was lost."""
    one = stack.add_compute("one")
    stack.wait_settled()
    with one.postgres.connect() as session:
        session.execute("create extension neon_refresh")
        stack.controller.admin.set_fault("lost", hook="notify-attach", count=1)
        stack.controller.admin.migrate(TENANT, 2)
        stack.controller.admin.wait_event("migration_ended", node=2)
        assert stack.server(1) == one.setting("neon.pageserver_connstring")
        session.execute("select neon_refresh.read_page('pg_class', 0)")
    assert stack.server(2) == one.setting("neon.pageserver_connstring")


def test_reconcile(stack: Stack) -> None:
    """Nobody reads, and the hook was lost: the operator, or the clock, has documents compared."""
    one = stack.add_compute("one")
    stack.wait_settled()
    stack.controller.admin.set_fault("lost", hook="notify-attach", count=1)
    stack.controller.admin.migrate(TENANT, 2)
    stack.controller.admin.wait_event("migration_ended", node=2)
    assert 200 == stack.control_plane.admin("POST", "/v1/reconcile").code
    one.wait_server(stack.server(2))


def test_generations_outlive_a_crash(stack: Stack) -> None:
    """After kill -9 the same document has the same generation, and moves go on from there."""
    one = stack.add_compute("one")
    stack.wait_settled()
    before = stack.control_plane.spec("one")
    stack.control_plane.restart()
    after = stack.control_plane.spec("one")
    assert (before.body, before.headers["ETag"]) == (after.body, after.headers["ETag"])
    stack.controller.admin.migrate(TENANT, 2)
    one.wait_server(stack.server(2))
    found = stack.control_plane.spec("one").body["spec"]["generation"]
    assert before.body["spec"]["generation"] + 1 == found
