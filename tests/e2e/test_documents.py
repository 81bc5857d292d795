"""What a document may not do to a live compute: go back, or take away by omission."""

import json
import time
from typing import Any

import pytest

from compute_ctl.__main__ import main
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
    """v40 says what v30 said: from then on v35 is stale, pulled and pushed."""
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
    compute.publish_document(document(url, generation=1, settings={"work_mem": "5MB"}))
    assert "stale" == daemon.refresh()


def test_the_floor_of_an_unproven_equal_content_survives(compute: Compute) -> None:
    """v2 says what v1 said while postgres is down: after kill -9 v1 with other content is stale."""
    url = compute.pageserver("a").url
    compute.publish_document(document(url, generation=1))
    compute.postgres.stop()
    daemon = compute.start_daemon(in_sync=False)
    daemon.wait_status("generation 1", lambda found: found["refresh"]["last_attempt"])
    compute.publish_document(document(url, generation=2))
    assert "unproven" == daemon.refresh()
    daemon.kill()
    compute.publish_document(document(url, generation=1, settings={"work_mem": "5MB"}))

    daemon.start()

    assert "stale" == daemon.refresh()


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


def test_oddities_are_told_once_and_shown(
    compute: Compute, capsys: pytest.CaptureFixture[str]
) -> None:
    """A misspelt field is in the log once, and in the status until a document has none."""
    url = compute.pageserver("a").url
    odd = document(url, generation=1)
    odd["spec"]["generatoin"] = 7
    compute.publish_document(odd)
    daemon = compute.start_daemon()
    expected = 'spec.generatoin: unknown field, ignored, did you mean "generation"?'
    assert expected in daemon.status()["config"]["warnings"]
    assert 0 == main(["status", "-D", str(compute.postgres.data)])
    assert expected in capsys.readouterr().out
    odd["spec"]["generation"] = 2
    compute.publish_document(odd)
    assert "unchanged" == daemon.refresh()
    assert 1 == daemon.log_text().count(expected)

    compute.publish_document(document(url, generation=3))
    assert "applied" == daemon.refresh()
    assert expected not in daemon.status()["config"]["warnings"]


def test_a_huge_document_does_not_hold_up_the_daemon(compute: Compute) -> None:
    """While 3.9 MB are read, the loop answers; a longer document is refused by its size."""
    url = compute.pageserver("a").url
    compute.publish_document(document(url, generation=1))
    daemon = compute.start_daemon()
    huge = document(url, generation=2)
    huge["spec"]["cluster"]["roles"] = [{"name": f"role_{n:07}"} for n in range(152_000)]
    raw = json.dumps(huge).encode()
    assert 3_800_000 < len(raw) < 4 * 1024 * 1024
    compute.publish_document(raw.decode())
    begun = time.monotonic()
    code, _ = daemon.call("POST", "/refresh_configuration", tcp=True)
    assert 200 == code
    longest, ended = 0.0, False
    while not ended:
        asked = time.monotonic()
        ended = daemon.status()["refresh"]["last_attempt"]["id"] > 1
        longest = max(longest, time.monotonic() - asked)
    assert longest < (time.monotonic() - begun) / 2

    compute.publish_document(raw.decode().replace('"role_', '"longer_role_'))
    assert "fetch_failed" == daemon.refresh()
    assert "larger than 4194304 bytes" in daemon.status()["error"]
