"""Fails on long files and functions, class names defined twice, ignored types without a reason, and
fields of the node that others write.

Exceptions stand here with their reasons. One that is no longer needed fails as well, so that the
list can only shrink.
"""

import ast
import re
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PRODUCT = ("compute_common", "compute_ctl", "control_plane")
PYTHON = (*PRODUCT, "bench", "devstack", "pg_hook", "tests", "tools")
C = ("bench", "extension", "pg_hook", "tests")
FILE_LINES = {".py": 300, ".c": 500, ".h": 500}
FUNCTION_LINES = {".py": 40, ".c": 80, ".h": 80}

ASSEMBLY = "a list of what is built, in order, without a branch"
TABLE = "a table: one line a row"

LONG_FILES: dict[str, str] = {}
LONG_FUNCTIONS = {
    "bench/plots.py:draw_herd": ASSEMBLY,
    "compute_ctl/app/main.py:_serve": ASSEMBLY,
    "compute_ctl/app/reconciler_parts.py:build_reconciler": ASSEMBLY,
    "tests/e2e/test_exit_status.py:test_each_documented_exit_status": TABLE,
    "tests/simulation/world.py:__init__": ASSEMBLY,
}
SAME_NAMES: dict[str, str] = {}

FUNCTION_OF_C = re.compile(r"^([a-zA-Z_]\w*)\(.*?^\{\n(.*?)^\}", re.MULTILINE | re.DOTALL)
"""The name stands at the beginning of a line, its type on the line before."""


def files(folders: tuple[str, ...], *suffixes: str) -> Iterator[Path]:
    """Source files, in order."""
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in suffixes and not path.name.startswith("_pg_hook."):
                yield path


def long_files() -> Iterator[tuple[str, str]]:
    """Each file that is too long, and what is wrong with it."""
    for path in (*files(PYTHON, ".py"), *files(C, ".c", ".h")):
        lines, limit = len(path.read_text("utf-8").splitlines()), FILE_LINES[path.suffix]
        if lines > limit:
            yield str(path.relative_to(ROOT)), f"{lines} lines, more than {limit}"


def functions(path: Path) -> Iterator[tuple[str, int]]:
    """Name and number of lines of each function."""
    text = path.read_text("utf-8")
    if path.suffix == ".py":
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield node.name, (node.end_lineno or node.lineno) - node.lineno + 1
    else:
        for found in FUNCTION_OF_C.finditer(text):
            yield found[1], found[0].count("\n") + 1


def long_functions() -> Iterator[tuple[str, str]]:
    """Each function that is too long."""
    for path in (*files(PYTHON, ".py"), *files(C, ".c", ".h")):
        limit = FUNCTION_LINES[path.suffix]
        for name, lines in functions(path):
            if lines > limit:
                yield f"{path.relative_to(ROOT)}:{name}", f"{lines} lines, more than {limit}"


def same_names() -> Iterator[tuple[str, str]]:
    """Each class name that a package defines more than once."""
    for package in PRODUCT:
        defined = defaultdict(list)
        for path in files((package,), ".py"):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.ClassDef):
                    defined[node.name].append(f"{path.relative_to(ROOT)}:{node.lineno}")
        for name, places in sorted(defined.items()):
            if len(places) > 1:
                yield name, f"is defined in {' and '.join(places)}"


def bare_ignores() -> Iterator[str]:
    """Each `type: ignore` that does not say why."""
    for path in files(PYTHON, ".py"):
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
            if re.search(r"# type: ignore(\[[\w, -]+\])?$", line):
                yield f"{path.relative_to(ROOT)}:{number}: say why the type is ignored"


def written_from_outside() -> Iterator[str]:
    """Each assignment to a field of the node, or of its parts, outside its package."""
    written = re.compile(r"^(self\._?)?node(\.\w+)+(\[.*\])?$")
    for path in files(("compute_ctl",), ".py"):
        if path.parent.name == "node":
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            place = isinstance(node, ast.Attribute | ast.Subscript) and ast.unparse(node)
            if place and not isinstance(node.ctx, ast.Load) and written.match(place):
                yield f"{path.relative_to(ROOT)}:{node.lineno}: only the node may write {place}"


def held_against(found: dict[str, str], exceptions: dict[str, str]) -> Iterator[str]:
    """What is wrong and no exception, and the exceptions that nothing needs."""
    yield from (f"{what}: {why}" for what, why in found.items() if what not in exceptions)
    unneeded = (what for what in exceptions if what not in found)
    yield from (f"{what}: needs no exception any more, delete it" for what in unneeded)


def main() -> None:
    """Print what is wrong, if anything is."""
    problems = [
        *held_against(dict(long_files()), LONG_FILES),
        *held_against(dict(long_functions()), LONG_FUNCTIONS),
        *held_against(dict(same_names()), SAME_NAMES),
        *bare_ignores(),
        *written_from_outside(),
    ]
    sys.exit("\n".join(problems) or 0)


if __name__ == "__main__":
    main()
