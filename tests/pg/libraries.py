"""Small C libraries that stand for other code in the server, built when a test needs them."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from devstack.installation import make_folder, pg_config

SOURCES = Path(__file__).parent / "helpers"
EXTENSION = Path(__file__).parents[2] / "extension"
CORE = Path(__file__).parents[2] / "pg_hook"


def build(name: str, folder: Path) -> Path:
    """Compile helpers/NAME.c against the server under test."""
    library = folder / f"{name}.so"
    includes = [f"-I{source}" for source in (pg_config("includedir-server"), EXTENSION, CORE)]
    command = ["gcc", "-shared", "-fPIC", "-O1", "-Wall", "-Werror", *includes]
    subprocess.run(
        [*command, "-o", str(library), str(SOURCES / f"{name}.c"), "-ldl"], check=True, timeout=60
    )
    return library


@pytest.fixture(scope="session")
def library_folder() -> Iterator[Path]:
    """A folder that the server may read."""
    folder = make_folder("lib-")
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def fake_neon(library_folder: Path) -> Path:
    """Return the path of a library that defines and reports as Neon's does."""
    return build("fake_neon", library_folder)


@pytest.fixture(scope="session")
def busy_slot(library_folder: Path) -> Path:
    """Return the path of a library that keeps a slot of the ring of events busy."""
    return build("busy_slot", library_folder)


@pytest.fixture(scope="session")
def probe(library_folder: Path) -> Path:
    """Return the path of a library that calls neon_refresh from C."""
    return build("probe", library_folder)


@pytest.fixture(scope="session")
def slow_resolver(library_folder: Path) -> Path:
    """Return the path of a library to preload, whose getaddrinfo takes its time."""
    return build("slow_resolver", library_folder)


@pytest.fixture
def without_http_client() -> Iterator[Path]:
    """A folder for dynamic_library_path with the extension, but without its HTTP client."""
    folder = make_folder("lib-")
    (folder / "neon_refresh.so").symlink_to(Path(pg_config("pkglibdir")) / "neon_refresh.so")
    yield folder
    shutil.rmtree(folder)
