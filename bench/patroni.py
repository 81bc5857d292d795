"""Patroni on one of our servers, with its own store (raft, one node): nothing else is needed.

It lives in a virtual environment of its own under `build/`, made when asked for: its
dependencies are none of ours.
"""

import http.client
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from shutil import rmtree
from typing import Any

from bench.outcome import FOLDER
from bench.unavailable import UnavailableError
from devstack.installation import binary, free_port, make_folder, os_user
from devstack.postgres import Postgres
from devstack.process import Child, ChildError
from devstack.wait import wait_until

HOME = FOLDER / "patroni"
PACKAGES = ("patroni[psycopg3,raft]==4.1.5", "pysyncobj==0.3.17", "psycopg[binary]>=3.2")
INSTALL_TIMEOUT_S = 300
READY_TIMEOUT_S = 60.0
CALL_TIMEOUT_S = 10.0


class Patroni:
    """A running Patroni that has taken over a server."""

    def __init__(self, port: int) -> None:
        self._port = port

    def call(self, method: str, path: str, body: object = None) -> int:
        """Make one request to its API; the status."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=CALL_TIMEOUT_S)
        try:
            raw = None if body is None else json.dumps(body)
            connection.request(method, path, raw, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            answer.read()
            return answer.status
        finally:
            connection.close()

    def leads(self) -> bool:
        """Whether it leads, and has a configuration that can be changed."""
        try:
            return self.call("GET", "/leader") == 200 == self.call("GET", "/config")
        except OSError:
            return False

    def patch(self, parameters: Mapping[str, str]) -> None:
        """Change settings of Postgres in its dynamic configuration."""
        status = self.call("PATCH", "/config", {"postgresql": {"parameters": parameters}})
        if status != 200:
            raise RuntimeError(f"Patroni answered {status}")


def install() -> Path:
    """Return the program, which is installed first if need be. Raises UnavailableError."""
    program = HOME / "bin" / "patroni"
    if program.exists():
        return program
    base = Path(sys.base_prefix) / "bin" / "python3"  # one that every user can run
    steps: tuple[list[str | Path], ...] = (
        [base, "-m", "venv", HOME],
        [HOME / "bin" / "pip", "install", "--quiet", *PACKAGES],
    )
    try:
        for argv in steps:
            subprocess.run(
                argv, check=True, capture_output=True, text=True, timeout=INSTALL_TIMEOUT_S
            )
    except (OSError, subprocess.SubprocessError) as error:
        said = (getattr(error, "stderr", None) or str(error)).strip().splitlines()
        rmtree(HOME, ignore_errors=True)
        raise UnavailableError(f"Patroni could not be installed: {said[-1]}") from error
    return program


def _settings(server: Postgres, folder: Path, port: int) -> dict[str, Any]:
    """Return Patroni's configuration; all times are its defaults."""
    api, user = f"127.0.0.1:{port}", {"username": server.user}
    return {
        "scope": "bench",
        "name": "one",
        "restapi": {"listen": api, "connect_address": api},
        "raft": {"data_dir": str(folder / "raft"), "self_addr": f"127.0.0.1:{free_port()}"},
        "bootstrap": {"dcs": {"ttl": 30, "loop_wait": 10, "retry_timeout": 10}},
        "postgresql": {
            "listen": f"127.0.0.1:{server.port}",
            "connect_address": f"127.0.0.1:{server.port}",
            "data_dir": str(server.data),
            "bin_dir": str(Path(binary("postgres")).parent),
            "pgpass": str(folder / "pgpass"),
            "authentication": {"superuser": user, "replication": user},
            "parameters": {"unix_socket_directories": server.host},
        },
    }


@contextmanager
def running(server: Postgres) -> Iterator[Patroni]:
    """Let Patroni take over a running server; it stops it in the end. Raises UnavailableError."""
    program = install()
    folder, port = make_folder("patroni-"), free_port()
    conf, log = folder / "patroni.yml", folder / "log"
    conf.write_text(json.dumps(_settings(server, folder, port)))  # JSON is YAML
    patroni = Patroni(port)
    try:
        child = Child([program, conf], stderr=log, ready=False, user=os_user(), cwd=folder)
        with child:
            try:
                wait_until("Patroni to lead", patroni.leads, READY_TIMEOUT_S)
            except AssertionError as error:
                raise UnavailableError(f"Patroni does not lead:\n{child.stderr_text()}") from error
            yield patroni
    except ChildError as error:
        raise UnavailableError(str(error)) from error
    finally:
        rmtree(folder, ignore_errors=True)
