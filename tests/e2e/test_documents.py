"""What a document may not do to a live compute: go back, or take away by omission."""

from typing import Any

from devstack.compute import TENANT, TIMELINE, Compute
from devstack.daemon import Daemon
from devstack.document import attached


def document(url: str, **fields: Any) -> dict[str, Any]:
    """Return a document that names one pageserver."""
    return attached(tenant=TENANT, timeline=TIMELINE, pageservers=[url], **fields)


def shown(daemon: Daemon) -> tuple[str, str, bool]:
    """Return the versions desired and applied, and whether the configuration is in sync."""
    config = daemon.status()["config"]
    return config["desired"]["version"], config["applied"]["version"], config["in_sync"]


def test_the_version_floor_moves_with_equal_content(compute: Compute) -> None:
    """v40 says what v30 said: from then on v35 is stale, pulled, pushed and after a restart."""
    url = compute.pageserver("a").url
    other = {"work_mem": "5MB"}
    compute.publish_document(document(url, generation=30))
    daemon = compute.start_daemon()
    assert ("30", "30", True) == shown(daemon)

    compute.publish_document(document(url, generation=40))

    assert "unchanged" == daemon.refresh()
    assert ("40", "40", True) == shown(daemon)
    compute.publish_document(document(url, generation=35, settings=other))
    assert "stale" == daemon.refresh()
    code, _ = daemon.call("POST", "/configure", document(url, generation=35, settings=other))
    assert 409 == code
    assert "4096" == compute.setting("work_mem")

    daemon.kill()
    daemon.start()
    daemon.wait_status("an attempt", lambda found: found["refresh"]["last_attempt"])
    assert ("40", "40", True) == shown(daemon)
    assert "stale" == daemon.refresh()
    assert "4096" == compute.setting("work_mem")


def test_the_shown_document_is_the_newest_accepted_after_a_restart(compute: Compute) -> None:
    """A document that changes a role, but no byte of the file, is the desired one after kill -9."""
    url = compute.pageserver("a").url
    compute.publish_document(document(url, generation=1))
    daemon = compute.start_daemon()
    newer = document(url, generation=2)
    newer["spec"]["cluster"]["roles"] = [{"name": "new_role"}]
    compute.publish_document(newer)
    assert "applied" == daemon.refresh()
    daemon.kill()
    compute.config.unlink()

    daemon.start()

    daemon.wait_status("an attempt", lambda found: found["refresh"]["last_attempt"])
    assert ("2", "2", True) == shown(daemon)


def test_omission_takes_nothing_from_a_live_compute(compute: Compute) -> None:
    """Without cluster, tenant, timeline or servers a document is refused, but by force."""
    a = compute.pageserver("a").url
    whole = document(a)
    whole["spec"]["safekeeper_connstrings"] = ["sk1:5454"]
    compute.publish_document(whole)
    daemon = compute.start_daemon()
    fields = ("cluster", "tenant_id", "timeline_id", "pageserver_connection_info",
              "safekeeper_connstrings")  # fmt: skip

    for name in fields:
        spec = {key: value for key, value in whole["spec"].items() if key != name}
        compute.publish_document({**whole, "spec": spec})
        assert "rejected" == daemon.refresh(), name
        assert f"spec.{name}: " in daemon.status()["error"]
        code, answer = daemon.call("POST", "/configure", {**whole, "spec": spec})
        assert code in (400, 422)
        assert f"spec.{name}: " in answer["error"]
        assert a == compute.setting("neon.pageserver_connstring")
    code, answer = daemon.call("POST", "/refresh_configuration?force=1&wait=20", tcp=True)
    assert 403 == code
    code, answer = daemon.call("POST", "/refresh_configuration?force=1&wait=20")
    assert (200, "applied") == (code, answer["outcome"])
    assert "" == compute.setting("neon.safekeepers")


def test_safekeepers_never_go_backwards(compute: Compute) -> None:
    """A lower generation of safekeepers is stale; an equal one with another list too."""
    whole = document(compute.pageserver("a").url)
    whole["spec"] |= {"safekeeper_connstrings": ["sk1:5454"], "safekeepers_generation": 4}
    compute.publish_document(whole)
    daemon = compute.start_daemon()
    other: list[dict[str, Any]] = [
        {"safekeeper_connstrings": ["sk2:5454"], "safekeepers_generation": 3},
        {"safekeeper_connstrings": ["sk2:5454"], "safekeepers_generation": 4},
        {"safekeeper_connstrings": ["sk2:5454"], "safekeepers_generation": None},
    ]

    for fields in other:
        behind = {**whole, "spec": {**whole["spec"], **fields}}
        compute.publish_document(behind)
        assert "stale" == daemon.refresh()
        assert 409 == daemon.call("POST", "/configure", behind)[0]
    assert "g#4:sk1:5454" == compute.setting("neon.safekeepers")
    whole["spec"] |= {"safekeeper_connstrings": ["sk2:5454"], "safekeepers_generation": 5}
    compute.publish_document(whole)
    assert "applied" == daemon.refresh()
