"""The control plane's push to a daemon: our own, whose `/configure` is that of Neon's."""

import asyncio
import json
from pathlib import Path

from control_plane.controller.configure import ConfigurePusher
from control_plane.controller.signing_key import SigningKey
from control_plane.errors import PushError
from devstack.compute import COMPUTE_ID
from devstack.installation import free_port
from tests.e2e.conftest import ComputeFactory


def push(key: SigningKey, port: int, document: object, compute_id: str = COMPUTE_ID) -> int:
    """Push a document; return 200 or the status of the refusal."""

    async def run() -> int:
        pusher = ConfigurePusher(key)
        try:
            url = f"http://127.0.0.1:{port}"
            await pusher.push(url, json.dumps(document).encode(), compute_id=compute_id)
        except PushError as error:
            return error.code or 0
        finally:
            await pusher.close()
        return 200

    return asyncio.run(run())


def test_a_daemon_takes_what_is_pushed(make_compute: ComputeFactory, tmp_path: Path) -> None:
    """With the key of its document it applies another one; other keys and computes get nowhere."""
    port = free_port()
    options = ["--external-http-port", str(port), "--reconcile-interval", "86400"]
    compute = make_compute(daemon_options=options)
    key = SigningKey.load_or_create(tmp_path / "key.pem")
    stranger = SigningKey.load_or_create(tmp_path / "other.pem")
    a = compute.pageserver("a")
    document = compute.publish(a) | {"compute_ctl_config": {"jwks": key.jwks}}
    compute.publish_document(document)
    compute.start_daemon()
    assert 401 == push(stranger, port, document)
    assert 403 == push(key, port, document, compute_id="another")
    assert 422 == push(key, port, document | {"spec": {"cluster": {"settings": 1}}})

    document["spec"]["cluster"]["settings"] = [
        *document["spec"]["cluster"].get("settings", []),
        {"name": "work_mem", "value": "7MB", "vartype": "string"},
    ]
    assert 200 == push(key, port, document)

    assert "7MB" == compute.postgres.value("show work_mem")
