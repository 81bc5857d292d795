"""The programs beside Postgres are configured after it; here there are none, but for its TLS."""

import json
import shutil
import socket
import ssl
from pathlib import Path

import pytest

from compute_ctl.sidecars.local_proxy import FOLDER
from compute_ctl.sidecars.pgbouncer import console
from devstack.compute import Compute
from devstack.fresh_compute import FreshCompute
from devstack.installation import give_away, replace_file
from devstack.wait import wait_until
from tests.support.certificates import certificate

PGBOUNCER = console({})[0]
SSL_REQUEST = bytes((0, 0, 0, 8, 4, 210, 22, 47))


@pytest.mark.skipif(FOLDER.exists() or PGBOUNCER.exists(), reason="there are such programs")
def test_programs_that_are_not_there(compute: Compute) -> None:
    """Nothing happens; the status and the log say so once."""
    a = compute.pageserver("a")
    document = compute.publish(a)
    document["spec"] |= {"pgbouncer_settings": {"pool_mode": "session"}, "generation": 2}
    document["spec"]["local_proxy_config"] = {"jwks": []}
    compute.publish_document(document)
    daemon = compute.start_daemon()

    def absent() -> bool:
        found = daemon.status()["sidecars"]
        return ["local_proxy", "pgbouncer"] == sorted(
            one["name"] for one in found if one["outcome"] == "absent" and one["error"] is None
        )

    wait_until("both to be absent", absent)
    for _ in range(2):
        assert "unchanged" == daemon.refresh()
    assert 1 == daemon.log_text().count("configuration of pgbouncer: absent")


def served(port: int) -> bytes:
    """Return the certificate that Postgres shows."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", port), timeout=30) as plain:
        plain.sendall(SSL_REQUEST)
        assert b"S" == plain.recv(1)
        with context.wrap_socket(plain) as wrapped:
            return wrapped.getpeercert(binary_form=True) or b""


def put(made: tuple[Path, Path], cert: Path, key: Path) -> None:
    """Put a certificate and key in the place of those before, for the server's user."""
    for source, target in zip(made, (cert, key), strict=True):
        shutil.copyfile(source, target)
        give_away(target)
        target.chmod(0o600)


def test_renewed_certificate(fresh: FreshCompute, tmp_path: Path) -> None:
    """Postgres reads it again; a pair that does not fit leaves it with the one before."""
    cert, key = fresh.folder / "tls.crt", fresh.folder / "tls.key"
    first, second = tmp_path / "1", tmp_path / "2"
    for folder in (first, second):
        folder.mkdir()
    one, other = certificate(first), certificate(second)
    put(one, cert, key)
    document = fresh.document(features=["tls_experimental"])
    del document["spec"]["tenant_id"], document["spec"]["timeline_id"]
    document["compute_ctl_config"]["tls"] = {"cert_path": str(cert), "key_path": str(key)}
    replace_file(fresh.config, json.dumps(document))
    fresh.daemon.start()
    fresh.wait_running()
    before = served(fresh.pg_port)

    def outcome() -> str | None:
        found = fresh.daemon.status()["sidecars"]
        return next((it["outcome"] for it in found if it["name"] == "tls"), None)

    wait_until("the first look", lambda: "applied" == outcome())
    put((other[0], one[1]), cert, key)
    fresh.daemon.refresh()
    wait_until("the refusal", lambda: "failed" == outcome())
    assert before == served(fresh.pg_port)
    put(other, cert, key)
    fresh.daemon.refresh()
    wait_until("the new one", lambda: before != served(fresh.pg_port))
    wait_until("the outcome", lambda: "applied" == outcome())
