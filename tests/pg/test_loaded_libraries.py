"""Which libraries the processes of the server load: libcurl is in the refresh worker alone."""

import re
import shutil
import subprocess
from pathlib import Path

from devstack.installation import pg_config
from devstack.postgres import Postgres
from devstack.wait import wait_until
from tests.pg.conftest import MakeNeon
from tests.pg.libraries import build
from tests.support.daemon_stub import REFRESH, DaemonStub
from tests.support.fixtures import PostgresFactory

WORKER = "SELECT worker_pid FROM neon_refresh.stat"
HTTP = "neon_refresh_http.so"
NO_CLIENT = r"the refresh worker has no HTTP client\n.*DETAIL:  {detail}.*\n.*HINT:  Install"


def loaded(pid: int) -> set[str]:
    """The names of the libraries that a process has mapped."""
    maps = Path(f"/proc/{pid}/maps").read_text()
    return {Path(path).name for path in re.findall(r"/\S+\.so\S*", maps)}


def needed_by_libpq(library: Path) -> set[str]:
    """libpq and all that it needs, as the dynamic linker finds it for *library*; no versions.

    A server may bring its own libraries, of other versions.
    """
    listed = subprocess.check_output(["ldd", library], text=True, timeout=10)
    found = re.findall(r"(?:=> )?(/\S+)", listed)
    return unversioned({Path(path).resolve().name for path in found})


def unversioned(names: set[str]) -> set[str]:
    """Names of libraries up to ``.so``."""
    return {name.partition(".so")[0] for name in names}


def backend(server: Postgres) -> set[str]:
    """What a new session has loaded, once it has used the extension."""
    with server.connect() as session:
        session.execute("SELECT * FROM neon_refresh.stat")
        return loaded(session.info.backend_pid)


def test_libcurl_is_in_the_worker_alone(make_neon: MakeNeon) -> None:
    """Neither the postmaster nor a session has it, nor the library that needs it."""
    server = make_neon()
    worker = loaded(wait_until("the worker", lambda: server.value(WORKER)))

    assert {HTTP, "neon_refresh.so"} <= worker
    assert any(name.startswith("libcurl") for name in worker)
    for process in (backend(server), loaded(server.pid)):
        assert "neon_refresh.so" in process
        assert set() == {name for name in process if name == HTTP or "curl" in name}


def test_a_session_loads_the_library_and_libpq(
    make_neon: MakeNeon, make_postgres: PostgresFactory
) -> None:
    """Of neon_refresh nothing else: libpq, and what that needs of itself."""
    with make_postgres({}).connect() as session:
        ordinary = loaded(session.info.backend_pid)
    library = Path(pg_config("pkglibdir")) / "neon_refresh.so"
    ours = backend(make_neon()) - ordinary

    assert unversioned(ours) <= {"neon_refresh"} | needed_by_libpq(library)
    dynamic = subprocess.check_output(["readelf", "-d", library], text=True, timeout=10)
    linked = {name.split(".so")[0] for name in re.findall(r"NEEDED.*\[(.*)\]", dynamic)}
    assert linked <= {"libpq", "libpthread", "libc"}


def test_a_missing_client_is_told_and_found_later(
    make_neon: MakeNeon, daemon: DaemonStub, without_http_client: Path
) -> None:
    """Sessions are served; the worker warns, with a hint, and waits; a reload looks again."""
    server = make_neon({"dynamic_library_path": str(without_http_client)}, daemon=daemon)
    warning = NO_CLIENT.format(detail=f'could not access file "{Path(HTTP).stem}"')
    server.wait_log(warning)
    assert server.value("SELECT neon_refresh.request('nobody does it')") is False
    assert 0 == server.log_contains("neon refresh worker.* exited")

    (without_http_client / HTTP).symlink_to(Path(pg_config("pkglibdir")) / HTTP)
    server.reload()
    wait_until("the worker", lambda: server.value(WORKER))
    assert server.value("SELECT neon_refresh.request('now there is one')") is True
    daemon.wait_for(REFRESH)


def test_a_client_of_another_version_is_refused(
    make_neon: MakeNeon, without_http_client: Path
) -> None:
    """An upgrade under a running server: the worker does not call into what it does not know."""
    shutil.copy(build("old_http_client", without_http_client), without_http_client / HTTP)
    server = make_neon({"dynamic_library_path": str(without_http_client)})
    detail = f'the installed "{Path(HTTP).stem}" is not of the version of the loaded neon_refresh'
    server.wait_log(NO_CLIENT.format(detail=detail))
    assert server.value(WORKER) is None
