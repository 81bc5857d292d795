"""What reaches the disk before what: the calls that a program really makes, seen from libc."""

import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

SPY = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void tell(const char *what, const char *name)
{
	char line[4200];
	int log = open(SPY_LOG, O_WRONLY | O_APPEND | O_CREAT, 0600);
	const char *base = strrchr(name, '/');

	snprintf(line, sizeof(line), "%s %s\n", what, base ? base + 1 : name);
	if (log < 0 || write(log, line, strlen(line)) < 0 || close(log) < 0)
		_exit(3);
}

int fsync(int fd)
{
	int (*real)(int) = (int (*)(int)) dlsym(RTLD_NEXT, "fsync");
	char link[64], name[4096] = "";

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	if (readlink(link, name, sizeof(name) - 1) < 0)
		_exit(3);
	tell("fsync", name);
	return real(fd);
}

int rename(const char *from, const char *to)
{
	int (*real)(const char *, const char *) =
		(int (*)(const char *, const char *)) dlsym(RTLD_NEXT, "rename");

	tell("rename", to);
	return real(from, to);
}
"""


@pytest.fixture
def spy(tmp_path: Path) -> tuple[Path, Path]:
    """Build a library that notes each fsync and rename; return it and the file of its notes."""
    source, library, log = tmp_path / "spy.c", tmp_path / "spy.so", tmp_path / "calls"
    source.write_text(SPY)
    command: list[str | Path] = [
        "cc",
        "-shared",
        "-fPIC",
        f'-DSPY_LOG="{log}"',
        source,
        "-o",
        library,
        "-ldl",
    ]
    subprocess.run(command, check=True, timeout=30)
    return library, log


def calls_of(spy: tuple[Path, Path], program: str) -> list[str]:
    """Run a Python program and return the calls it made, in order."""
    library, log = spy
    subprocess.run(
        [sys.executable, "-c", dedent(program)],
        env={**os.environ, "LD_PRELOAD": str(library)},
        check=True,
        timeout=30,
    )
    return log.read_text().splitlines()


def test_content_is_on_disk_before_its_name(spy: tuple[Path, Path], tmp_path: Path) -> None:
    """The live file is synced, then renamed, and its folder is synced last."""
    folder = tmp_path / "folder"
    folder.mkdir()
    program = f"""
        from pathlib import Path
        from compute_ctl.store.conf_file import ConfFile
        store = ConfFile(Path("{folder}/compute_ctl.conf"), pgdata=Path("{folder}"), pgbin="true")
        store.swap("a = 1\\n")
        store.sync()
    """

    assert [
        "fsync .compute_ctl.conf.next",
        "rename compute_ctl.conf",
        "fsync folder",
    ] == calls_of(spy, program)
