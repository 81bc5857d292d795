"""A real Patroni cluster on etcd, where the programs are installed (Debian: patroni, etcd-server).

Patroni of Debian runs with the system's Python. Its members are ours to kill, its servers as well.
"""

import http.client
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Self

import psycopg

from devstack.etcd import Etcd
from devstack.installation import binary, free_port, make_folder, os_user, replace_file
from devstack.process import Child, Program
from devstack.reaper import REAPER
from devstack.wait import wait_until

SCOPE = "story"
USER = "postgres"
CALL_TIMEOUT = 30.0
PATIENCE = 120.0
"""Until a cluster has been made, or has a leader again: a busy machine needs long for `initdb`."""
DYNAMIC: dict[str, Any] = {
    "ttl": 20,
    "loop_wait": 1,
    "retry_timeout": 3,
    "failsafe_mode": True,
}
"""Quick to act; on a busy machine, too, a leader that lives keeps its key, which lasts for `ttl`.

With `failsafe_mode` it stays the leader while etcd is away.
"""
INITDB = [{"encoding": "UTF8"}, {"locale": "C"}, {"auth": "trust"}, "no-sync"]
HBA = ["local all all trust", "host all all 127.0.0.1/32 trust"]
HBA += ["host replication all 127.0.0.1/32 trust"]


def missing() -> list[str]:
    """Return the programs that are not installed."""
    return Etcd.missing() + ([] if shutil.which("patroni") else ["patroni"])


class PatroniMember(Program):
    """One Patroni and the server that it runs."""

    name = "patroni"
    start_timeout = 60.0
    stop_timeout = 60.0

    def __init__(self, member: str, etcd: Etcd, folder: Path, dynamic: Mapping[str, Any]) -> None:
        super().__init__(log=folder / f"{member}.log")
        self.member = member
        self.port, self.api_port = free_port(), free_port()
        self.data = folder / member
        self._conf = folder / f"{member}.yml"
        self._folder = folder
        replace_file(self._conf, json.dumps(self._settings(etcd, dynamic)))  # JSON is YAML
        self.argv += ["python3", "-c", REAPER, "patroni", self._conf]

    @property
    def url(self) -> str:
        """URL of its REST API."""
        return f"http://127.0.0.1:{self.api_port}"

    def _settings(self, etcd: Etcd, dynamic: Mapping[str, Any]) -> dict[str, Any]:
        api, server = f"127.0.0.1:{self.api_port}", f"127.0.0.1:{self.port}"
        return {
            "scope": SCOPE,
            "name": self.member,
            "etcd3": {"host": f"127.0.0.1:{etcd.port}"},
            "restapi": {"listen": api, "connect_address": api},
            "bootstrap": {"dcs": dynamic, "initdb": INITDB, "pg_hba": HBA},
            "postgresql": {
                "listen": server,
                "connect_address": server,
                "data_dir": str(self.data),
                "bin_dir": str(Path(binary("postgres")).parent),
                "pgpass": str(self._folder / f"{self.member}.pgpass"),
                "pg_hba": HBA,
                "authentication": {
                    "superuser": {"username": USER},
                    "replication": {"username": USER},
                },
                "parameters": {
                    "unix_socket_directories": str(self._folder),
                    "fsync": "off",
                    "shared_buffers": "16MB",
                },
            },
        }

    def spawn(self) -> None:
        """Start it as the user that Postgres runs as."""
        self.child = Child(
            self.argv, stderr=self.log, ready=False, user=os_user(), cwd=self._folder
        )

    def call(self, method: str, path: str, body: object = None) -> tuple[int, str]:
        """One request to its API; status and body. Raises OSError."""
        connection = http.client.HTTPConnection("127.0.0.1", self.api_port, timeout=CALL_TIMEOUT)
        try:
            raw = None if body is None else json.dumps(body)
            connection.request(method, path, raw, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        except http.client.HTTPException as error:
            raise ConnectionError(str(error)) from error
        finally:
            connection.close()

    def answers(self) -> bool:
        """Whether its API answers. Raises OSError."""
        return self.call("GET", "/liveness")[0] == 200

    def says(self, path: str) -> bool:
        """Whether its API answers 200 to a question such as ``/leader``."""
        with suppress(OSError):
            return self.call("GET", path)[0] == 200
        return False

    def takes_writes(self) -> bool:
        """Whether it leads, and its server has been promoted, which comes later."""
        if not self.says("/primary"):
            return False
        with suppress(psycopg.OperationalError), self.connect() as session:
            return session.execute("select pg_is_in_recovery()").fetchone() == (False,)
        return False

    def connect(self) -> psycopg.Connection[tuple[Any, ...]]:
        """Open an autocommit session of its server."""
        return psycopg.connect(self.dsn(), autocommit=True, connect_timeout=60)

    def dsn(self) -> str:
        """Connection string over TCP."""
        return f"host=127.0.0.1 port={self.port} user={USER} dbname=postgres"

    def kill(self) -> None:
        """Crash it, and then the server it ran."""
        super().kill()
        with suppress(OSError, ValueError, IndexError):
            pid = int((self.data / "postmaster.pid").read_text().split()[0])
            os.kill(pid, signal.SIGKILL)


class PatroniCluster:
    """An etcd and some members; use it as a context manager."""

    def __init__(
        self, members: Sequence[str] = ("a", "b"), *, retry_interval: str = "200ms"
    ) -> None:
        """*retry_interval*: `wal_retrieve_retry_interval` of all standbys."""
        self.retry_interval = retry_interval
        parameters = {"wal_keep_size": "64MB", "wal_retrieve_retry_interval": retry_interval}
        postgresql = {"use_pg_rewind": False, "parameters": parameters}
        dynamic = {**DYNAMIC, "postgresql": postgresql}
        self.folder = make_folder("patroni-")
        self.etcd = Etcd(self.folder)
        self.members = {
            name: PatroniMember(name, self.etcd, self.folder, dynamic) for name in members
        }
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.callback(shutil.rmtree, self.folder, ignore_errors=True)
            stack.enter_context(self.etcd)
            first, *others = self.members.values()
            stack.enter_context(first)
            wait_until(f"{first.member} to lead", lambda: first.says("/leader"), PATIENCE)
            for member in others:
                stack.enter_context(member)
            self.wait_level(first)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def logs(self) -> dict[str, Path]:
        """Every log, by name."""
        return {"etcd": self.etcd.log} | {name: it.log for name, it in self.members.items()}

    @property
    def urls(self) -> str:
        """URLs of all REST APIs, separated by commas."""
        return ",".join(member.url for member in self.members.values())

    @property
    def store(self) -> str:
        """Where its keys are: ``etcd://…``."""
        return f"etcd://127.0.0.1:{self.etcd.port}/service/{SCOPE}"

    def level(self, leader: PatroniMember) -> bool:
        """Whether all other members have the log of *leader*; then none of it can be lost."""
        behind = (
            "select %s - count(*) from pg_stat_replication where application_name = any(%s)"
            " and state = 'streaming' and flush_lsn >= pg_current_wal_flush_lsn()"
        )
        others = [name for name in self.members if name != leader.member]
        with suppress(psycopg.Error), leader.connect() as session:
            return session.execute(behind, (len(others), others)).fetchone() == (0,)
        return False

    def wait_level(self, leader: PatroniMember) -> None:
        """Wait for that."""
        what = f"all members to have the log of {leader.member}"
        wait_until(what, lambda: self.level(leader), PATIENCE)

    def leader(self, *, but: PatroniMember | None = None) -> PatroniMember:
        """Wait for a leader, other than *but*, whose server takes writes; return it."""

        def found() -> PatroniMember | None:
            leaders = (it for it in self.members.values() if it is not but and it.takes_writes())
            return next(leaders, None)

        return wait_until("a leader", found, PATIENCE)  # type: ignore[return-value]  # none is None

    def switch_over(self) -> PatroniMember:
        """Hand the leadership over in order; return the new leader once it takes writes."""

        def done() -> PatroniMember | None:
            """Ask for it; it may be refused, or take longer than Patroni waits for it.

            Patroni lets a member lead that is not level: what it lacks is lost for the others.
            """
            old = self.leader()
            if not self.level(old):
                return None
            new = next(it for it in self.members.values() if it is not old)
            names = {"leader": old.member, "candidate": new.member}
            return old if old.call("POST", "/switchover", names)[0] == 200 else None

        old = wait_until("a switchover", done, PATIENCE)
        return self.leader(but=old)

    def base_backup(self, data: Path) -> None:
        """Copy the leader's data directory to *data*, for a standby."""
        command = [
            binary("pg_basebackup"),
            "-D",
            str(data),
            "-d",
            self.leader().dsn(),
            "-c",
            "fast",
        ]
        subprocess.run(command, check=True, cwd="/", timeout=60, user=os_user())
