"""Which leases a configuration asks for, and when they are renewed."""

from datetime import timedelta

import pytest

from compute_ctl.decisions.lsn_lease import renew_at, wanted
from tests.support.clock import DATE

TENANT, TIMELINE = "9" * 32, "0" * 32


def body(servers: str, *, mode: str = "static", named: str = "") -> str:
    """Return the body of a file that names these pageservers, *named* all those of shard 0."""
    comment = f"# pageservers of shard 0: {named}\n" if named else ""
    return f"""\
neon.tenant_id = '{TENANT}'
neon.timeline_id = '{TIMELINE}'
neon.compute_mode = '{mode}'
recovery_target_lsn = '0/1F00'
# upstream: the servers that this one depends on
{comment}neon.pageserver_connstring = '{servers}'
"""


def test_one_lease_of_an_unsharded_tenant() -> None:
    """It is asked for by the tenant's ID alone."""
    (only,) = wanted(body("host=a"))
    assert (f"lease lsn {TENANT} {TIMELINE} 0/1F00", "host=a") == (only.command, only.server)


def test_a_lease_of_each_shard() -> None:
    """Number and count, in hex, stand behind the tenant."""
    found = wanted(body(",".join(f"host=s{number}" for number in range(12))))
    assert 12 == len(found)
    assert (f"{TENANT}-0b0c", "host=s11") == (found[11].tenant_shard, found[11].server)


@pytest.mark.parametrize("mode", ["primary", "replica"])
def test_a_compute_that_moves_on_needs_none(mode: str) -> None:
    """Only one that is pinned to a point of the log reads behind the horizon."""
    assert () == wanted(body("host=a", mode=mode))
    assert () == wanted("")


@pytest.mark.parametrize(("lasts_s", "after_s"), [(600, 540), (100, 50), (0, 0)])
def test_renewed_a_minute_before_the_end_or_at_half(lasts_s: int, after_s: int) -> None:
    """Whichever is later."""
    until = DATE + timedelta(seconds=lasts_s)
    assert timedelta(seconds=after_s) == renew_at(DATE, until) - DATE
