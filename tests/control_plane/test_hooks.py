"""Hooks are answered truthfully."""

from typing import Any

from devstack.compute import TENANT, TIMELINE
from devstack.stack import Stack, operator_text, setting
from devstack.wait import wait_until


def attached(*nodes: int) -> dict[str, Any]:
    """The body of notify-attach."""
    shards = [{"node_id": node, "shard_number": number} for number, node in enumerate(nodes)]
    stripe_size = 2048 if len(nodes) > 1 else None
    return {
        "tenant_id": TENANT,
        "preferred_az": None,
        "stripe_size": stripe_size,
        "shards": shards,
    }


def test_all_computes_move(stack: Stack) -> None:
    """A migration is published to all computes, and the hook is 200 once all run with it."""
    computes = [stack.add_compute("one"), stack.add_compute("two")]
    stack.wait_settled()
    mark = stack.controller.admin.mark()
    stack.controller.admin.migrate(TENANT, 2)
    stack.controller.admin.wait_event("hook_answered", since=mark, status=200)
    for compute in computes:
        assert stack.server(2) == compute.setting("neon.pageserver_connstring")


def test_laggard(stack: Stack) -> None:
    """A daemon that hangs holds the answer up, and is named; when it goes on, all is well."""
    one, two = stack.add_compute("one"), stack.add_compute("two")
    stack.wait_settled()
    mark = stack.controller.admin.mark()
    two.pause()
    stack.controller.admin.migrate(TENANT, 2)
    found = stack.controller.admin.wait_event("hook_answered", since=mark, status=423)
    assert "stored, not applied by two: " in found["reason"], found
    assert stack.server(2) == one.setting("neon.pageserver_connstring")
    two.resume()
    stack.controller.admin.wait_event("hook_answered", since=mark, status=200)
    assert stack.server(2) == two.setting("neon.pageserver_connstring")


def test_a_refused_setting_does_not_hold_up_a_move(stack: Stack) -> None:
    """The servers of a refused document are in force, which is all that a hook is about."""
    one = stack.add_compute("one")
    stack.wait_settled()
    bad = setting("work_mem", "nonsense")
    stack.control_plane.put("one", operator_text(cluster={"settings": [bad]}))

    def condition() -> str:
        return str(stack.control_plane.admin("GET", "/v1/computes/one").body["row"]["condition"])

    wait_until("the refusal", lambda: condition() == "refused", 30)
    assert 200 == stack.control_plane.hook("notify-attach", attached(1)).code
    mark = stack.controller.admin.mark()
    stack.controller.admin.migrate(TENANT, 2)
    stack.controller.admin.wait_event("hook_answered", since=mark, status=200)
    assert stack.server(2) == one.setting("neon.pageserver_connstring")
    assert "refused" == condition()


def test_no_blind_answer_after_a_restart(stack: Stack) -> None:
    """A control plane that has just started does not take a silent compute for a dead one."""
    one = stack.add_compute("one")
    stack.wait_settled()
    assert 200 == stack.control_plane.hook("notify-attach", attached(1)).code
    one.pause()
    stack.control_plane.restart()
    found = stack.control_plane.hook("notify-attach", attached(1))
    assert (423, ["one"]) == (found.code, [it["compute_id"] for it in found.body["laggards"]])
    one.resume()
    assert 200 == stack.control_plane.hook("notify-attach", attached(1)).code


def test_safekeepers(stack: Stack) -> None:
    """Newer safekeepers are published, older ones change nothing, and others are a conflict."""
    for number in (1, 2, 7, 8, 9):
        stack.controller.admin.put_safekeeper(number, f"safekeeper-{number}")
    one = stack.add_compute("one")
    stack.wait_settled()

    def tell(generation: int, *ids: int) -> int:
        keepers = [{"id": number, "hostname": f"safekeeper-{number}"} for number in ids]
        body = {
            "tenant_id": TENANT,
            "timeline_id": TIMELINE,
            "generation": generation,
            "safekeepers": keepers,
        }
        return stack.control_plane.hook("notify-safekeepers", body).code

    newest = "g#3:safekeeper-1:5454,safekeeper-2:5454"
    assert (200, newest) == (tell(3, 1, 2), one.setting("neon.safekeepers"))
    assert (200, newest) == (tell(2, 7, 8), one.setting("neon.safekeepers"))
    assert (200, newest) == (tell(3, 1, 2), one.setting("neon.safekeepers"))
    assert (409, newest) == (tell(3, 1, 9), one.setting("neon.safekeepers"))
