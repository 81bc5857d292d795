"""The server reads a rendered file as it was meant."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from compute_ctl.document.generation import MARKER_SETTING, Marker, file_text
from devstack.installation import binary, give_away, run_as
from devstack.postgres import Postgres, Template
from tests.unit.document.rendering import A, made

NASTY = ["", " ", "it's", "\\", "\\'", "a''b\\\\", "# no comment", "x' include 'y", "ä\u2028€", "="]


@pytest.fixture(scope="module")
def server(template: Template) -> Iterator[Postgres]:
    """A data directory; its server need not run."""
    with Postgres(template, name="render") as postgres:
        yield postgres


def read_by_server(server: Postgres, conf: Path, name: str) -> str:
    """Return what the server's own binary finds for *name* in *conf*."""
    done = subprocess.run(
        [binary("postgres"), "-C", name, "-D", str(server.data), "-c", f"config_file={conf}"],
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
        cwd="/",
        **run_as(),
    )
    assert 0 == done.returncode, done.stderr
    value: str = done.stdout.removesuffix("\n")
    return value


def test_server_reads_nasty_values(server: Postgres) -> None:
    """The server itself reads every value back, and the marker as the last line."""
    settings: dict[str, str | None] = {f"x.v{index}": value for index, value in enumerate(NASTY)}
    settings["cluster_name"] = "it's # \\x"
    rendered = made(settings, text="work_mem = 3MB # it's", pageserver_connstring=A)
    marker = Marker.of(generation=1, nonce="0" * 32, body=rendered.body)
    conf = server.folder / "nasty.conf"
    conf.write_text(file_text(rendered.body, marker))
    give_away(conf)

    found = {name: read_by_server(server, conf, name) for name in (*settings, "work_mem")}

    assert found == {**settings, "work_mem": "3072"}
    assert A == read_by_server(server, conf, "neon.pageserver_connstring")
    assert read_by_server(server, conf, MARKER_SETTING) == str(marker)
