"""No password and no token leaves the document: not by logs, answers, history or file modes."""

import stat

from devstack.compute import COMPUTE_ID, TENANT, TIMELINE, TOKEN
from devstack.document import attached
from tests.e2e.conftest import ComputeFactory

STORAGE_TOKEN = "storage-token-7d1f"
ROLE_PASSWORD = "SCRAM-SHA-256$4096:c2FsdHNhbHQ=$c3RvcmVka2V5:c2VydmVya2V5"
URL_PASSWORD = "url-password-93ab"
SECRETS = (STORAGE_TOKEN, ROLE_PASSWORD, URL_PASSWORD, TOKEN)


def test_nothing_secret_is_shown(make_compute: ComputeFactory) -> None:
    """After a success, a refusal and a failure, no secret stands in any log or answer."""
    compute = make_compute(source="control_plane")
    a = compute.pageserver("a")
    compute.publish(a)
    daemon = compute.start_daemon()
    assert compute.control_plane is not None
    url = a.url.replace("no_user@", f"no_user:{URL_PASSWORD}@")
    document = attached(tenant=TENANT, timeline=TIMELINE, pageservers=[url], generation=7)
    document["spec"]["storage_auth_token"] = STORAGE_TOKEN
    document["spec"]["cluster"]["roles"] = [
        {"name": "app", "encrypted_password": ROLE_PASSWORD, "options": []}
    ]
    compute.control_plane.admin.put_compute(COMPUTE_ID, document)
    assert "applied" == daemon.refresh()
    document["spec"]["generation"] = 8
    document["spec"]["cluster"]["settings"] = [
        {"name": "work_mem", "value": URL_PASSWORD, "vartype": "string"}
    ]
    compute.control_plane.admin.put_compute(COMPUTE_ID, document)
    assert "rejected" == daemon.refresh()
    compute.control_plane.kill()
    assert "fetch_failed" == daemon.refresh()

    state = compute.postgres.data / "compute_ctl"
    shown = {
        "log": daemon.log_text(),
        "status": str(daemon.call("GET", "/status", tcp=True)[1]),
        "metrics": str(daemon.call("GET", "/metrics", tcp=True)[1]),
        "live file": (compute.postgres.data / "compute_ctl.conf").read_text(),
    }
    found = [(name, secret) for name, text in shown.items() for secret in SECRETS if secret in text]

    # The refused value itself is what an operator must see; a password has no business there.
    assert [] == [pair for pair in found if pair[1] != URL_PASSWORD]
    assert [name for name, secret in found if secret == URL_PASSWORD] in ([], ["log", "status"])
    for path in state.rglob("*"):
        if path.is_file():
            assert 0 == stat.S_IMODE(path.stat().st_mode) & 0o077, path
    assert STORAGE_TOKEN in (state / "storage_token").read_text()
