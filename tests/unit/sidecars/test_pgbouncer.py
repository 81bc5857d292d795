"""What becomes of PgBouncer's file."""

import subprocess
import sys
from pathlib import Path

import pytest

from compute_common.errors import SpecError
from compute_ctl.sidecars.pgbouncer import Pgbouncer, console, with_settings
from compute_ctl.sidecars.wanted import Wanted
from devstack.installation import give_away, make_folder

INI = """\
; made by hand
[databases]
* = host=localhost
pool_mode = x

[pgbouncer]
listen_port = 6432 ; kept
pool_mode=session
;default_pool_size = 5
Pool_Mode = twice
[users]
"""


def test_only_the_named_settings_change() -> None:
    """In the section for the program; comments and other sections stay."""
    expected = """\
; made by hand
[databases]
* = host=localhost
pool_mode = x

[pgbouncer]
listen_port = 6432 ; kept
pool_mode = transaction
;default_pool_size = 5
default_pool_size = 40
[users]
"""
    wanted = {"pool_mode": "transaction", "default_pool_size": "40"}
    assert expected == with_settings(INI, wanted)
    assert expected == with_settings(expected, wanted)


def test_a_line_ends_nowhere_else() -> None:
    """What Python counts as a new line makes none of a comment; names may have digits."""
    text = "[pgbouncer]\r\n; a\x85pool_mode = x\n"
    assert text + "server_tls13_ciphers = y\n" == with_settings(text, {"server_tls13_ciphers": "y"})


WRITE = """
import os, sys
from pathlib import Path
from compute_ctl.sidecars import pgbouncer
path, user, group = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
if os.geteuid() != user:  # after the imports: others may not read a checkout in root's home
    os.setgroups([])
    os.setgid(group)
    os.setuid(user)
pgbouncer.write(path, b"short")
"""


def test_a_folder_that_is_not_the_daemon_s() -> None:
    """The file itself is written then; in any case it keeps its owner."""
    folder = make_folder("etc-")
    path = folder / "pgbouncer.ini"
    try:
        path.write_text(INI + INI)
        give_away(path)
        folder.chmod(0o555)
        owner = path.stat().st_uid
        subprocess.run(
            [sys.executable, "-c", WRITE, str(path), str(owner), str(path.stat().st_gid)],
            check=True,
            timeout=60,
        )
        assert (b"short", owner) == (path.read_bytes(), path.stat().st_uid)
        assert [path] == list(folder.iterdir())
    finally:
        folder.chmod(0o700)
        path.unlink()
        folder.rmdir()


@pytest.mark.parametrize("text", ["", "[databases]\na = b\n"])
def test_a_file_without_the_section(text: str) -> None:
    """It gets one."""
    assert text + "[pgbouncer]\npool_mode = x\n" == with_settings(text, {"pool_mode": "x"})


@pytest.mark.parametrize(
    "settings", [{"a\nb": "x"}, {"a": "x\n[users]"}, {"%include": "/etc/passwd"}, {"": "x"}]
)
def test_what_would_break_the_file_is_refused(settings: dict[str, str]) -> None:
    """No name and no value begins another line."""
    with pytest.raises(SpecError, match="pgbouncer_settings"):
        with_settings(INI, settings)


def test_where_it_is() -> None:
    """In a virtual machine and in a pod, as for the reference."""
    assert "/etc/pgbouncer.ini" == str(console({"AUTOSCALING": ""})[0])
    path, address, password = console({"PGBOUNCER_PASSWORD": "secret"})
    assert ("/var/db/postgres/pgbouncer/pgbouncer.ini", "secret") == (str(path), password)
    assert "secret" not in address


def test_without_it_nothing_happens(tmp_path: Path) -> None:
    """Nothing is made."""
    one = Pgbouncer(tmp_path / "pgbouncer.ini", "host=/nowhere", None)
    assert not one.apply(Wanted(pgbouncer={"pool_mode": "session"}))
    assert [] == list(tmp_path.iterdir())
    assert not one.names(Wanted(pgbouncer={}))
