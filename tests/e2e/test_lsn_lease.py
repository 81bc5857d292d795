"""A static compute holds a lease of its LSN, on the pageservers it reads from now."""

from typing import Any

from devstack.compute import TENANT, TIMELINE, Compute
from devstack.document import attached
from devstack.launch import Pageserver

LSN = "0/1F00"


def publish(compute: Compute, pageserver: Pageserver, *, generation: int) -> None:
    """Publish a document of a static compute."""
    document = attached(
        tenant=TENANT, timeline=TIMELINE, pageservers=[pageserver.url], generation=generation
    )
    document["spec"]["mode"] = {"Static": LSN}
    compute.publish_document(document)


def leases(pageserver: Pageserver) -> int:
    """Return how often a pageserver was asked for one."""
    count: int = pageserver.admin.stats()["leases"]
    return count


def test_the_lease_follows_the_pageserver(compute: Compute) -> None:
    """The new one is asked at once; one that has removed the pages is shown."""
    a, b = compute.pageserver("a"), compute.pageserver("b")
    publish(compute, a, generation=1)
    daemon = compute.start_daemon(in_sync=False)

    def held(found: dict[str, Any]) -> Any:
        lease = found["postgres"]["lease"]
        return lease and lease["valid_until"] and not lease["error"] and lease

    def refused(found: dict[str, Any]) -> Any:
        lease = found["postgres"]["lease"]
        return lease and not lease["valid_until"] and lease["error"]

    assert LSN == daemon.wait_status("a lease", held)["lsn"]
    assert 1 == leases(a)

    b.admin.set_lsn(gc_cutoff="0/2000")
    publish(compute, b, generation=2)
    daemon.refresh(wait=30)
    expected = (
        f"pageserver {b.address} refuses a lease of {LSN}: the pages of that point are removed"
    )
    assert expected == daemon.wait_status("the refusal", refused)
    assert f"no lease of {LSN}" in daemon.log_text()

    publish(compute, a, generation=3)
    daemon.refresh(wait=30)
    daemon.wait_status("a lease again", held)
    assert 2 == leases(a)
