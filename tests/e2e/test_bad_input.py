"""Bad input: one clear line or a JSON error, a non-zero exit or a 4xx, and no file changed."""

import copy
import hashlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from devstack import fork_server
from devstack.compute import TENANT, TIMELINE, Compute
from devstack.document import attached
from devstack.installation import binary

URL = "postgresql://no_user@127.0.0.1:6400"


NOT_CONFIGURATION = ("history.jsonl", "state.json", ".state.json.next", "lock")


def fingerprint(folder: Path) -> dict[str, tuple[int, str]]:
    """Return inode and content of every configuration file of a data directory."""
    found = [*folder.glob("*.conf"), *folder.glob("compute_ctl/**/*")]
    return {
        str(path): (path.stat().st_ino, hashlib.sha256(path.read_bytes()).hexdigest())
        for path in found
        if path.is_file() and path.name not in NOT_CONFIGURATION
    }


def run_daemon(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run compute_ctl with arguments that it must refuse."""
    return fork_server.run(
        [sys.executable, "-m", "compute_ctl", *map(str, arguments)],
        timeout=20,
    )


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda a: [*a, "--pgdata", "/nonexistent"], '"/nonexistent" does not exist'),
        (lambda a: [*a, "--pgdata", "/etc"], '"/etc"'),
        (lambda a: [*a, "--pgbin", "/nonexistent/postgres"], "/nonexistent/postgres"),
        (lambda a: [*a, "--internal-http-port", "70000"], "70000"),
        (lambda a: a[:-2], "no source of configuration"),
    ],
    ids=["missing data directory", "wrong data directory", "missing binary", "port", "no source"],
)
def test_arguments(
    compute: Compute, change: Callable[[list[str]], list[str]], problem: str
) -> None:
    """A command line that cannot work is refused with one line, a hint at most, and exit 2."""
    before = fingerprint(compute.postgres.data)
    arguments = ["--attach", "--pgdata", str(compute.postgres.data), "--pgbin", binary("postgres")]
    arguments += ["--connstr", compute.postgres.conninfo, "--compute-id", "c"]
    arguments += ["--internal-http-port", str(compute.port), "--config", str(compute.config)]

    done = run_daemon(*change(arguments))

    assert 2 == done.returncode, done.stderr
    lines = done.stderr.splitlines()
    assert lines[0].startswith("compute_ctl: error: "), done.stderr
    assert problem in done.stderr
    assert len(lines) <= 2
    assert fingerprint(compute.postgres.data) == before


def base() -> dict[str, Any]:
    """Return a good document."""
    return attached(
        tenant=TENANT, timeline=TIMELINE, pageservers=[URL, URL], stripe_size=16, generation=9
    )


def changed(*path: str, value: Any) -> dict[str, Any]:
    """Return the good document with one field changed."""
    document = copy.deepcopy(base())
    place = document["spec"]
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return document


BAD_DOCUMENTS: dict[str, tuple[Any, str]] = {
    "unparsable": (b'{"spec": {"cluster": ', "JSON"),
    "no spec": ({"compute_ctl_config": {}}, "spec: missing"),
    "wrong type": (changed("cluster", "settings", value=7), "spec.cluster.settings"),
    "unknown shard": (
        changed("pageserver_connection_info", "shards", value={"0902": {"pageservers": []}}),
        "shard",
    ),
    "missing shard": (
        changed("pageserver_connection_info", "shard_count", value=3),
        "shard",
    ),
    "newline in conninfo": (
        changed(
            "pageserver_connection_info",
            "shards",
            "0002",
            "pageservers",
            value=[{"libpq_url": URL + "\nwork_mem = '1MB'"}],
        ),
        "control character",
    ),
    "newline in a setting": (
        changed("cluster", "settings", value=[{"name": "work_mem", "value": "1\nfsync = off"}]),
        "control character",
    ),
    "null setting": (
        changed("cluster", "settings", value=[{"name": "work_mem", "value": None}]),
        "spec.cluster.settings[0].value",
    ),
    "bad name": (
        changed("cluster", "settings", value=[{"name": "a = 1 #", "value": "1"}]),
        "spec.cluster.settings[0].name",
    ),
    "another tenant": (changed("tenant_id", value="1" * 32), "belongs to"),
    "the marker": (
        changed(
            "cluster",
            "settings",
            value=[{"name": "neon_refresh.config_generation", "value": "1"}],
        ),
        "neon_refresh.config_generation",
    ),
}


@pytest.mark.parametrize("name", list(BAD_DOCUMENTS))
def test_documents(compute: Compute, name: str) -> None:
    """A bad document is refused by push and by pull with field and reason, and changes no file."""
    document, problem = BAD_DOCUMENTS[name]
    a = compute.pageserver("a")
    compute.publish(a)
    daemon = compute.start_daemon()
    before = fingerprint(compute.postgres.data)

    code, body = daemon.call("POST", "/configure", document)

    assert 400 <= code < 500, body
    assert problem in body["error"]
    assert fingerprint(compute.postgres.data) == before
    compute.publish_document(document.decode() if isinstance(document, bytes) else document)
    assert daemon.refresh() in ("rejected", "fetch_failed", "empty")
    assert compute.setting("neon.pageserver_connstring") == a.url
    live = compute.postgres.data / "compute_ctl.conf"
    assert fingerprint(compute.postgres.data)[str(live)] == before[str(live)]
