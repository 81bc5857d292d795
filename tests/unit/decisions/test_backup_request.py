"""Which base backup a configuration file asks for."""

import pytest

from compute_ctl.decisions.backup_request import BackupRequest

TENANT, TIMELINE = "a" * 32, "b" * 32
BODY = f"""# settings
neon.compute_mode = '{{mode}}'
recovery_target_lsn = '0/16B5A50'
neon.tenant_id = '{TENANT}'
neon.timeline_id = '{TIMELINE}'
# upstream: the servers that this one depends on
neon.stripe_size = '2048'
neon.pageserver_connstring = 'postgresql://no_user@a:6400,postgresql://no_user@b:6400'
neon.safekeepers = 'g#1:sk:1,sk:2'
"""


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        ("primary", "0/AB --gzip"),
        ("replica", "--gzip --replica"),
        ("static", "0/16B5A50 --gzip --replica"),
    ],
)
def test_command(mode: str, words: str) -> None:
    """A primary asks at the safekeepers' position, a static compute at its own."""
    found = BackupRequest.of(BODY.format(mode=mode), "token")
    assert found is not None

    agreed = "0/AB" if found.is_primary else None

    assert f"basebackup {TENANT} {TIMELINE} {words}" == found.command(agreed)
    assert ("postgresql://no_user@a:6400", "g#1:sk:1,sk:2") == (found.server, found.safekeepers)
    assert "token" not in repr(found).replace("token=", "")


def test_newest() -> None:
    """Without a position the newest is asked for."""
    found = BackupRequest.of(BODY.format(mode="primary"), None)

    assert found is not None
    assert f"basebackup {TENANT} {TIMELINE} --gzip" == found.command()


@pytest.mark.parametrize("lacks", ["neon.tenant_id", "neon.timeline_id", "neon.pageserver_conn"])
def test_other_documents(lacks: str) -> None:
    """Without tenant, timeline or pageservers there is nothing to take a backup from."""
    lines = BODY.format(mode="primary").splitlines(keepends=True)
    body = "".join(line for line in lines if not line.startswith(lacks))

    assert BackupRequest.of(body, None) is None
