"""Fails where an assert of the tests has what is found before what is expected; --fix swaps them.

``assert 3 == len(rows)`` reads as "expected, found" in each report of a failure. An operand is what
is expected if it is written out: a literal, a constant, a member of an enum, or made of these.
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("tests/daemon", "tests/unit")


def expected(node: ast.expr) -> bool:
    """Whether *node* is written out."""
    parts: list[ast.expr | None]
    match node:
        case ast.Constant():
            parts = []
        case ast.Name(id=name):
            return name.isupper()
        case ast.Attribute(value=ast.Name(id=name), attr=attribute):
            return name[:1].isupper() and attribute.isupper()
        case ast.UnaryOp(operand=operand):
            parts = [operand]
        case ast.BinOp(left=left, right=right):
            parts = [left, right]
        case ast.Tuple(elts=elements) | ast.List(elts=elements) | ast.Set(elts=elements):
            parts = [*elements]
        case ast.Dict(keys=keys, values=values):
            parts = [*keys, *values]
        case _:
            return False
    return all(part is not None and expected(part) for part in parts)


def swapped(text: str) -> Iterator[ast.Compare]:
    """Each comparison of an assert in *text* whose operands stand the wrong way round."""
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Assert(
                test=ast.Compare(left=left, ops=[ast.Eq()], comparators=[right]) as test
            ) if expected(right) and not expected(left):
                yield test


def fixed(text: str, comparisons: list[ast.Compare]) -> str:
    """Return *text* with the operands of *comparisons* swapped."""
    data = text.encode()
    starts = [0]
    for line in data.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))

    def span(node: ast.expr) -> tuple[int, int]:
        end_line, end_column = node.end_lineno or node.lineno, node.end_col_offset or 0
        start, end = starts[node.lineno - 1] + node.col_offset, starts[end_line - 1] + end_column
        before, after = data[:start].rstrip(), data[end:].lstrip()
        if before.endswith(b"(") and after.startswith(b")"):
            return len(before) - 1, len(data) - len(after) + 1
        return start, end

    for one in sorted(comparisons, key=lambda one: one.lineno, reverse=True):
        (a, b), (c, d) = span(one.left), span(one.comparators[0])
        data = data[:a] + data[c:d] + data[b:c] + data[a:b] + data[d:]
    return data.decode()


def main() -> None:
    """Print the places, or swap the operands."""
    found: list[str] = []
    for path in sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")):
        text = path.read_text("utf-8")
        if comparisons := list(swapped(text)):
            if "--fix" in sys.argv:
                path.write_text(fixed(text, comparisons), "utf-8")
                continue
            places = (f"{path.relative_to(ROOT)}:{one.lineno}" for one in comparisons)
            found += [f"{place}: what is expected comes first" for place in places]
    sys.exit("\n".join(found) or 0)


if __name__ == "__main__":
    main()
