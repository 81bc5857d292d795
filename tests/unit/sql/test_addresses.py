"""What libpq would look up is looked up before, since nothing bounds libpq."""

import pytest

from compute_ctl.errors import ProbeError
from compute_ctl.sql.addresses import resolve


@pytest.mark.parametrize(
    ("given", "environment"),
    [
        ({}, {}),
        ({"host": "/run/postgresql"}, {}),
        ({"host": "@abstract"}, {}),
        ({"host": "name", "hostaddr": "127.0.0.1"}, {}),
        ({"host": "name"}, {"PGHOSTADDR": "127.0.0.1"}),
        ({"service": "s"}, {"PGHOST": "name"}),
        ({}, {"PGHOST": "name", "PGSERVICE": "s"}),
        ({"host": "a,b", "port": "1,2,3"}, {}),
    ],
)
def test_nothing_to_look_up(given: dict[str, object], environment: dict[str, str]) -> None:
    """Sockets and addresses need no name server, and what is wrong is libpq's to say."""
    assert {} == resolve(given, environment)


def test_every_host_gets_its_address() -> None:
    """Hosts stay in their order, each with its port; a socket among them stays one."""
    given = {"host": "127.0.0.1,/tmp,127.0.0.2", "port": "1,2,3"}
    expected = {
        "host": "127.0.0.1,/tmp,127.0.0.2",
        "hostaddr": "127.0.0.1,,127.0.0.2",
        "port": "1,2,3",
    }
    assert expected == resolve(given, {})
    assert "127.0.0.3" == resolve({}, {"PGHOST": "127.0.0.3"})["hostaddr"]


def test_several_addresses_are_tried_in_turn() -> None:
    """A name may have two addresses, where the server listens on one."""
    found = resolve({"host": "localhost", "port": 5}, {})
    addresses = found["hostaddr"].split(",")
    assert {"127.0.0.1"} <= set(addresses) <= {"127.0.0.1", "::1"}
    assert found["host"].split(",") == ["localhost"] * len(addresses)
    assert found["port"].split(",") == ["5"] * len(addresses)


def test_unknown_name() -> None:
    """The name is in the error, with the system's reason."""
    with pytest.raises(ProbeError, match=r'address of host "nobody\.invalid": '):
        resolve({"host": "nobody.invalid"}, {})
