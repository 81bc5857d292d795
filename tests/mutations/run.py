"""Runs tests on a copy of the checkout, as it is and broken."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.mutations.mutation import Mutation, mutated

ROOT: Final = Path(__file__).resolve().parent.parent.parent
LEFT_OUT: Final = shutil.ignore_patterns(
    *(".git", ".venv", ".*_cache", ".hypothesis", "build", "*.o")
)
BUILD_S: Final = 120
TESTS_S: Final = 300
ONE_TEST_S: Final = 30
PASSED, FAILED = 0, 1


@dataclass(frozen=True, kw_only=True)
class Ran:
    """What became of some tests: pytest's exit status, or that of the build before them."""

    status: int
    seconds: float
    output: str

    @property
    def caught(self) -> bool:
        """Whether a test failed, or the interpreter died in one; not: no test was found."""
        return self.status == FAILED or self.status < 0


class Copy:
    """A copy of the checkout that may be broken."""

    def __init__(self, folder: Path, *, patience: float) -> None:
        """*patience*: multiplies the time that tests are given."""
        self.folder = folder
        self._patience = patience
        shutil.copytree(ROOT, folder, ignore=LEFT_OUT, symlinks=True, dirs_exist_ok=True)
        folder.chmod(0o755)  # Postgres's user runs parts of it

    def test(self, arguments: Sequence[str]) -> Ran:
        """Run pytest with these arguments, in the copy."""
        command = [sys.executable, "-m", "pytest", "-q", "-x", "--no-header", "-p", "no:randomly"]
        command += [
            "-p",
            "no:cacheprovider",
            f"--timeout={ONE_TEST_S * self._patience}",
            *arguments,
        ]
        return self._run(command, TESTS_S * self._patience)

    @contextmanager
    def broken(self, mutation: Mutation) -> Iterator[None]:
        """Break the copy, and mend it again. Raises MovedError, and RuntimeError of the build."""
        path = self.folder / mutation.file
        whole, text = path.read_text("utf-8"), mutated(mutation, self.folder)
        try:
            path.write_text(text, "utf-8")
            self._build(mutation)
            yield
        finally:
            path.write_text(whole, "utf-8")
            self._build(mutation)

    def _build(self, mutation: Mutation) -> None:
        if not mutation.core:
            return
        for command in (["make", "-s", "-C", "pg_hook"], [sys.executable, "-m", "pg_hook._build"]):
            ran = self._run(command, BUILD_S)
            if ran.status != 0:
                raise RuntimeError(f'could not build "{mutation.name}":\n{ran.output}')

    def _run(self, command: Sequence[str], timeout: float) -> Ran:
        begun = time.monotonic()
        done = subprocess.run(
            command,
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(self.folder), "PYTHONDONTWRITEBYTECODE": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout,
            check=False,
        )
        return Ran(status=done.returncode, seconds=time.monotonic() - begun, output=done.stdout)


@contextmanager
def copy(*, patience: float = 1.0) -> Iterator[Copy]:
    """Make a copy, and remove it; see `Copy` for *patience*."""
    folder = Path(tempfile.mkdtemp(prefix="mutation-"))
    try:
        yield Copy(folder, patience=patience)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
