"""The external listener of a whole compute: keys of its document, and what Postgres is asked."""

import http.client
import json
import time
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ed25519
from jwt.algorithms import OKPAlgorithm

from devstack.compute import COMPUTE_ID
from devstack.installation import free_port
from tests.e2e.conftest import ComputeFactory

OLD = ed25519.Ed25519PrivateKey.generate()
NEW = ed25519.Ed25519PrivateKey.generate()
TIMEOUT_S = 20.0


def keys(*private: ed25519.Ed25519PrivateKey) -> dict[str, Any]:
    """Return the part of a document that says who may sign."""
    return {"jwks": {"keys": [json.loads(OKPAlgorithm.to_jwk(k.public_key())) for k in private]}}


def ask(
    port: int,
    method: str,
    path: str,
    key: ed25519.Ed25519PrivateKey | None = None,
    body: Any = None,
) -> tuple[int, str]:
    """Ask at the external listener, with a token signed by *key*."""
    headers = {"Content-Type": "application/json"}
    if key is not None:
        claims = {"compute_id": COMPUTE_ID, "exp": time.time() + 60}
        headers["Authorization"] = f"Bearer {jwt.encode(claims, key, 'EdDSA')}"
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
    try:
        connection.request(method, path, json.dumps(body) if body else None, headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def test_keys_follow_the_document(make_compute: ComputeFactory) -> None:
    """A new document changes who gets in, and so does one that is pushed; a restart keeps it."""
    port = free_port()
    options = ["--external-http-port", str(port), "--reconcile-interval", "86400"]
    compute = make_compute(daemon_options=options)
    a = compute.pageserver("a")
    document = compute.publish(a)
    compute.publish_document(document | {"compute_ctl_config": keys(OLD)})
    daemon = compute.start_daemon()
    assert 400 == ask(port, "GET", "/status")[0]
    assert 200 == ask(port, "GET", "/status", OLD)[0]
    assert 200 == ask(port, "GET", "/readyz")[0]

    pushed = document | {"compute_ctl_config": keys(NEW)}
    assert 401 == ask(port, "POST", "/configure", NEW, pushed)[0]
    assert 200 == ask(port, "POST", "/configure", OLD, pushed)[0]
    assert [401, 200] == [ask(port, "GET", "/status", key)[0] for key in (OLD, NEW)]

    compute.config.unlink()
    daemon.kill()
    daemon.start()
    compute.wait_in_sync()  # the listeners open before the state is read
    assert [401, 200] == [ask(port, "GET", "/status", key)[0] for key in (OLD, NEW)]


def test_what_postgres_is_asked(make_compute: ComputeFactory) -> None:
    """Databases, roles, a schema, a row written: all by the running server."""
    port = free_port()
    compute = make_compute(daemon_options=["--external-http-port", str(port)])
    a = compute.pageserver("a")
    document = compute.publish(a)
    compute.publish_document(document | {"compute_ctl_config": keys(OLD)})
    compute.start_daemon()
    with compute.postgres.connect() as connection:
        connection.execute("create table told (n int)")

    code, body = ask(port, "GET", "/dbs_and_roles", OLD)
    assert 200 == code
    assert "postgres" in {one["name"] for one in json.loads(body)["databases"]}
    code, body = ask(port, "GET", "/database_schema?database=postgres", OLD)
    assert (200, True) == (code, "CREATE TABLE public.told" in body)
    assert 404 == ask(port, "GET", "/database_schema?database=absent", OLD)[0]
    assert (200, "true") == ask(port, "POST", "/check_writability", OLD)
    wanted = {"extension": "pageinspect", "database": "postgres", "version": "1.11"}
    code, body = ask(port, "POST", "/extensions", OLD, wanted)
    assert (201, "pageinspect") == (code, json.loads(body)["extension"])
    assert compute.postgres.value("select count(*) from pg_extension where extname='pageinspect'")
