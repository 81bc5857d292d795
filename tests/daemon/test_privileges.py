"""Root becomes the owner of the data directory, for good, with all it needs imported."""

import grp
import json
import os
import pwd
import subprocess
import sys
from pathlib import Path

import pytest

from compute_common.errors import SettingsError
from compute_ctl.privileges import become_owner, can_read
from devstack.installation import give_away, make_folder, os_user

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")

BECOME = """
import asyncio, json, os, sys
from pathlib import Path
import compute_ctl.sources.control_plane, compute_ctl.sql.probe
from compute_common.errors import ComputeError
from compute_ctl.privileges import become_owner

late = []

class Refuse:
    def find_spec(self, name, path=None, target=None):
        late.append(name)
        raise ImportError(f"late import of {name}")

folder = Path(sys.argv[1])
changed = become_owner(folder)
sys.meta_path.insert(0, Refuse())

async def use():
    plane = compute_ctl.sources.control_plane.ControlPlane("http://127.0.0.1:9", compute_id="c")
    probe = compute_ctl.sql.probe.PgSqlProbe("host=127.0.0.1 port=9 user=u")
    for attempt in (plane.fetch(), probe.look(deadline_s=5)):
        try:
            await attempt
        except ComputeError as error:
            assert "refused" in str(error) or "Connect call failed" in str(error), error
    await plane.close()

asyncio.run(use())
(folder / "mine").write_text("")
try:
    os.setuid(0)
    back = True
except PermissionError:
    back = False
print(json.dumps([late, changed, os.getresuid(), os.getresgid(), os.getgroups(), back,
                  os.environ["HOME"]]))
"""


@needs_root
def test_root_becomes_the_owner_and_needs_no_import_after() -> None:
    """All ids change for good, files belong to the owner, and nothing is imported any more."""
    folder = make_folder("priv-")
    user = pwd.getpwnam(str(os_user()))
    try:
        done = subprocess.run(
            [sys.executable, "-c", BECOME, str(folder)],
            check=False,
            capture_output=True,
            text=True,
            timeout=30,
            cwd=Path(__file__).parents[2],
        )
        assert "" == done.stderr
        late, changed, uids, gids, groups, back, home = json.loads(done.stdout)
        assert [] == late
        assert changed is True
        assert uids == [user.pw_uid] * 3
        assert gids == [user.pw_gid] * 3
        assert sorted(groups) == sorted(os.getgrouplist(user.pw_name, user.pw_gid))
        assert grp.getgrgid(0).gr_gid not in groups
        assert back is False
        assert home == user.pw_dir
        assert (folder / "mine").stat().st_uid == user.pw_uid
    finally:
        subprocess.run(["rm", "-rf", str(folder)], check=True, timeout=10)


@needs_root
def test_what_can_still_be_read_afterwards(tmp_path: Path) -> None:
    """A file behind a folder of root's is out of reach for the owner, one in the open is not."""
    user = pwd.getpwnam(str(os_user()))
    tmp_path.chmod(0o700)
    (tmp_path / "hidden.py").touch(0o644)
    assert can_read(tmp_path / "hidden.py", user.pw_uid, user.pw_gid) is False
    assert can_read(Path("/etc/passwd"), user.pw_uid, user.pw_gid) is True
    assert 0 == os.geteuid()


@needs_root
def test_directory_of_root_is_refused(tmp_path: Path) -> None:
    """Postgres cannot run there: the operator gets the chown to run, and nothing changes."""
    with pytest.raises(SettingsError, match="belongs to root") as caught:
        become_owner(tmp_path)
    assert caught.value.hint is not None
    assert f"chown -R postgres: {tmp_path}" in caught.value.hint
    assert 0 == os.geteuid()


@needs_root
def test_missing_directory_is_refused_for_root(tmp_path: Path) -> None:
    """Root cannot know for whom to make the directory."""
    with pytest.raises(SettingsError, match="does not exist"):
        become_owner(tmp_path / "absent")


@needs_root
def test_directory_of_another_user_is_refused() -> None:
    """Whoever is neither root nor the owner is told whom to run as."""
    folder = make_folder("priv-")
    give_away(folder)
    code = (
        "import sys; from pathlib import Path\n"
        "from compute_ctl.privileges import become_owner\n"
        "from compute_common.errors import SettingsError\n"
        "import os; os.setresuid(65533, 65533, 65533)\n"
        "try: become_owner(Path(sys.argv[1]))\n"
        "except SettingsError as error: print(error, error.hint)\n"
    )
    try:
        done = subprocess.run(
            [sys.executable, "-c", code, str(folder)],
            check=False,
            capture_output=True,
            text=True,
            timeout=30,
            cwd=Path(__file__).parents[2],
        )
    finally:
        folder.rmdir()
    user = os_user()
    assert done.stdout == (
        f'data directory "{folder}" belongs to user "{user}", not to ID 65533 '
        f'Run compute_ctl as root or as "{user}".\n'
    )


def test_own_directory_needs_no_change(tmp_path: Path) -> None:
    """An owner who is not root stays what he is; a directory still to be made is fine."""
    if os.geteuid() == 0:
        pytest.skip("root is nobody's owner here")
    assert become_owner(tmp_path) is False
    assert become_owner(tmp_path / "absent") is False


def test_memory_is_hidden() -> None:
    """No other process of the same user reads the memory, and what is started is not affected."""
    script = (
        "import ctypes, subprocess, sys\n"
        "from compute_ctl.privileges import hide_memory\n"
        "hide_memory()\n"
        "ask = 'import ctypes; print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))'\n"
        "print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0), flush=True)\n"
        "subprocess.run([sys.executable, '-c', ask], check=True)\n"
    )
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    assert ["0", "1"] == done.stdout.split()
