"""What `pip install` of this project brings: the daemons, in pure Python, and nothing else."""

import re
import subprocess
import sys
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel, built from a clone of the checked-in files: a build leaves files behind."""
    folder = tmp_path_factory.mktemp("wheel")
    listed = subprocess.run(
        ["git", "-c", f"safe.directory={ROOT}", "ls-files", "-z"],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    for name in listed.stdout.decode().split("\0"):
        if name and (source := ROOT / name).is_file():
            copy = folder / "source" / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(source.read_bytes())
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-index"]
    command += ["--no-build-isolation", "--disable-pip-version-check", "-w", str(folder)]
    subprocess.run([*command, str(folder / "source")], check=True, timeout=50)
    (path,) = folder.glob("*.whl")
    return zipfile.ZipFile(path)


def test_no_compiler_is_needed(wheel: zipfile.ZipFile) -> None:
    """The wheel fits every platform, so it holds nothing that was compiled."""
    assert Path(str(wheel.filename)).name.endswith("-py3-none-any.whl")


def test_only_the_daemons_are_installed(wheel: zipfile.ZipFile) -> None:
    """The stand-ins, the C core and its binding stay in the checkout."""
    folders = {name.partition("/")[0] for name in wheel.namelist()}
    packages = {"compute_common", "compute_ctl", "control_plane"}
    assert packages == {name for name in folders if not name.endswith(".dist-info")}


def test_the_daemon_does_not_ask_for_the_binding(wheel: zipfile.ZipFile) -> None:
    """Its requirements are those of the daemon; cffi belongs to the development tools."""
    (name,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    required = Parser().parsestr(wheel.read(name).decode()).get_all("Requires-Dist") or []
    runtime = [line for line in required if "extra ==" not in line]
    assert [] == [line for line in runtime if line.startswith("cffi")]
    assert any(line.startswith("aiohttp") for line in runtime)


def test_daemon_extension_and_packages_have_one_version(wheel: zipfile.ZipFile) -> None:
    """`compute_ctl --version`, extension and packages agree; a script leads to that version."""
    control = (ROOT / "extension" / "neon_refresh.control").read_text()
    found = re.search(r"^default_version = '(.*)'$", control, re.MULTILINE)
    assert found is not None
    (name,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    assert found[1] == Parser().parsestr(wheel.read(name).decode())["Version"]
    assert list((ROOT / "extension").glob(f"neon_refresh--*{found[1]}.sql"))
    assert (ROOT / "debian" / "changelog").read_text().startswith(f"compute-refresh ({found[1]}-")
