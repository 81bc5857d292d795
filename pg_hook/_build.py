"""Builds ``pg_hook._pg_hook``, the cffi binding of the C core, from the core's own headers.

Run as a program, with a folder as argument or none, it makes the binding there or in place. The
archive must exist (``make -C pg_hook``); ``PG_HOOK_ARCHIVE`` and ``PG_HOOK_LINK_ARGS`` name another
one and what it needs, for the sanitizer build.
"""

import os
import re
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from cffi import FFI

MODULE = "_pg_hook"
HERE = Path(__file__).resolve().parent
HEADER = HERE / "pg_hook.h"
ARCHIVE = Path(
    os.environ.get("PG_HOOK_ARCHIVE", HERE.parent / "build" / "pg_hook" / "libpg_hook.a")
)


def headers() -> list[Path]:
    """Return the headers that declare something, in an order in which they can be read."""
    included = re.findall(r'^#include "(.+)"', HEADER.read_text("utf-8"), re.MULTILINE)
    return [HERE / name for name in included]


def declarations(header: Path) -> str:
    """Return the header without its preprocessor lines, as cffi can read it."""
    lines = header.read_text("utf-8").splitlines(keepends=True)
    return "".join(line for line in lines if not line.startswith("#"))


if not ARCHIVE.is_file():
    raise SystemExit(f'could not find "{ARCHIVE}"; hint: run "make -C pg_hook" first')

ffi = FFI()
ffi.cdef("".join(map(declarations, headers())))
ffi.set_source(
    f"pg_hook.{MODULE}",
    '#include "pg_hook.h"',
    include_dirs=[str(HERE)],
    extra_objects=[str(ARCHIVE)],
    libraries=["curl"],
    extra_link_args=os.environ.get("PG_HOOK_LINK_ARGS", "").split(),
    depends=[*map(str, headers()), str(ARCHIVE)],
)


def build_into(folder: Path) -> None:
    """Compile in a scratch folder, so that only the finished module appears, at once."""
    with TemporaryDirectory(dir=folder) as scratch:
        made = ffi.compile(tmpdir=scratch, target=f"{MODULE}.abi3.so")
        Path(made).replace(folder / f"{MODULE}.abi3.so")


if __name__ == "__main__":
    build_into(Path(sys.argv[1]) if sys.argv[1:] else HERE)
