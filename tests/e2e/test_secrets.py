"""No password and no token leaves the document: not by logs, answers, history or file modes."""

import stat

from devstack.compute import TENANT, TIMELINE, Compute
from devstack.compute_control_plane import COMPUTE_TOKEN
from devstack.document import attached

STORAGE_TOKEN = "storage-token-7d1f"
ROLE_PASSWORD = "SCRAM-SHA-256$4096:c2FsdHNhbHQ=$c3RvcmVka2V5:c2VydmVya2V5"
URL_PASSWORD = "url-password-93ab"
SECRETS = (STORAGE_TOKEN, ROLE_PASSWORD, URL_PASSWORD, COMPUTE_TOKEN)


def test_nothing_secret_is_shown(pulling: Compute) -> None:
    """After a success, a refusal and a failure, no secret stands in any log or answer."""
    a = pulling.pageserver("a")
    pulling.faults.strike("no_reports")  # it is told nothing before it asks
    pulling.publish(a)
    daemon = pulling.start_daemon()
    url = a.url.replace("no_user@", f"no_user:{URL_PASSWORD}@")
    document = attached(tenant=TENANT, timeline=TIMELINE, pageservers=[url])
    document["spec"]["storage_auth_token"] = STORAGE_TOKEN
    document["spec"]["cluster"]["roles"] = [
        {"name": "app", "encrypted_password": ROLE_PASSWORD, "options": []}
    ]
    pulling.publish_document(document)
    assert "applied" == daemon.refresh()
    document["spec"]["cluster"]["settings"] = [
        {"name": "work_mem", "value": URL_PASSWORD, "vartype": "string"}
    ]
    pulling.publish_document(document)
    assert "rejected" == daemon.refresh()
    pulling.faults.strike("drop")
    assert "fetch_failed" == daemon.refresh()

    state = pulling.postgres.data / "compute_ctl"
    shown = {
        "log": daemon.log_text(),
        "status": str(daemon.call("GET", "/status", tcp=True)[1]),
        "metrics": str(daemon.call("GET", "/metrics", tcp=True)[1]),
        "live file": (pulling.postgres.data / "compute_ctl.conf").read_text(),
    }
    found = [(name, secret) for name, text in shown.items() for secret in SECRETS if secret in text]

    # The refused value itself is what an operator must see; a password has no business there.
    assert [] == [pair for pair in found if pair[1] != URL_PASSWORD]
    assert [name for name, secret in found if secret == URL_PASSWORD] in ([], ["log", "status"])
    for path in state.rglob("*"):
        if path.is_file():
            assert 0 == stat.S_IMODE(path.stat().st_mode) & 0o077, path
    assert STORAGE_TOKEN in (state / "storage_token").read_text()
