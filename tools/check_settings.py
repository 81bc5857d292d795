"""Compare the extension's settings with docs/settings.md: names, types, defaults, ranges, contexts.

The truth is the DefineCustom...Variable calls in extension/*.c. Prints one line for each difference
and exits with status 1 if there is any. Run by `make check`.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MANUAL = ROOT / "docs/settings.md"

CALL = re.compile(r"\b(DefineCustom(?:Bool|Int|Real|String|Enum)Variable|define_ms)\s*\(\s*(?=\")")
CONSTANT = re.compile(
    r"^(?:#define\s+(?=\w+\s+\d)|\s+)([A-Z]\w+)(?:\s*=\s*|\s+)(\d+)\b", re.MULTILINE
)
NAMED = re.compile(r'"((?:neon|neon_refresh)\.[a-z_]+)"')
OPTION = re.compile(r'\{\s*"(\w+)",\s*(\w+),')
TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|/\*.*?\*/|[(),]|[^"(),/]+|/', re.DOTALL)
ROW = re.compile(r"^\| `((?:neon|neon_refresh)\.\w+)` \|(.*)\|$", re.MULTILINE)
DURATION = re.compile(r"(\d+) (ms|s|min|h)")
MS = {"ms": 1, "s": 1000, "min": 60_000, "h": 3_600_000}
INT_MAX = 2**31 - 1
CHANGED_BY = {
    "PGC_SIGHUP": "reload",
    "PGC_POSTMASTER": "restart",
    "PGC_SU_BACKEND": "superuser, at connect",
    "PGC_SUSET": "superuser",
    "PGC_USERSET": "anyone",
}
UNITS = {"GUC_UNIT_MS": "ms", "GUC_UNIT_BLOCKS": "pages", "GUC_LIST_INPUT": "list"}


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What both sides say of one setting."""

    kind: str
    """``bool``, ``integer``, ``ms``, ``pages``, ``string``, ``list`` or ``enum``."""
    default: str
    """A duration in milliseconds, without unit."""
    range: str
    """``LOW to HIGH``, ``from LOW`` where there is no upper limit, empty for no numbers."""
    changed_by: str
    hidden: bool
    """Only a superuser may see it."""


def arguments(text: str, at: int) -> list[str]:
    """Return the arguments of the call whose first argument begins at *at*."""
    found, depth, current = [], 1, ""
    for token in TOKEN.finditer(text, at):
        part = token[0]
        depth += {"(": 1, ")": -1}.get(part, 0)
        if depth == 0 or (part == "," and depth == 1):
            found.append(" ".join(current.split()))
            current = ""
            if depth == 0:
                return found
        elif not part.startswith("/*"):
            current += part
    raise ValueError(f"the call at {text[at : at + 40]!r} does not end")


def defined(source: str, numbers: Mapping[str, str]) -> Iterator[tuple[str, Setting]]:
    """Yield the settings that the C text *source* defines; *numbers* are its constants."""
    words = {value: name for name, value in OPTION.findall(source)}
    for call in CALL.finditer(source):
        given = arguments(source, call.end())
        kind = call[1].removeprefix("DefineCustom").removesuffix("Variable").lower()
        initial, rest = given[4], given[5:]
        low, high, context, flags = "", "", "PGC_SIGHUP", "GUC_UNIT_MS"
        if kind in ("int", "define_ms"):
            low, high, rest = rest[0], rest[1], rest[2:]
        elif kind == "enum":
            initial, rest = words[initial], rest[1:]
        if kind != "define_ms":
            context, flags = rest[0], rest[1]
        units = [unit for flag, unit in UNITS.items() if flag in flags]
        plain = {"int": "integer", "define_ms": "ms"}.get(kind, kind)
        bools = {"true": "on", "false": "off"}
        yield (
            given[0].strip('"'),
            Setting(
                kind=units[0] if units else plain,
                default=bools.get(initial, numbers.get(initial, initial.strip('"'))),
                range=span(numbers.get(low, low), numbers.get(high, high)),
                changed_by=CHANGED_BY[context],
                hidden="SUPERUSER_ONLY" in flags,
            ),
        )


def span(low: str, high: str) -> str:
    """Return a range of numbers as the manual has it."""
    if not low:
        return ""
    return f"from {low}" if high == str(INT_MAX) else f"{low} to {high}"


def documented(manual: str) -> Iterator[tuple[str, Setting]]:
    """Yield the settings in the tables of *manual*."""
    for name, row in ROW.findall(manual):
        cells = [cell.strip() for cell in row.split("|")]
        kind, default, limits, changed_by = (DURATION.sub(_in_ms, cell) for cell in cells[:4])
        hidden = "hidden" in kind
        yield (
            name,
            Setting(
                kind=kind.removesuffix(", hidden"),
                default=default.strip("`").strip("'"),
                range=limits,
                changed_by=changed_by,
                hidden=hidden,
            ),
        )


def _in_ms(match: re.Match[str]) -> str:
    return str(int(match[1]) * MS[match[2]])


def differences(truth: Mapping[str, Setting], manual: Mapping[str, Setting]) -> Iterator[str]:
    """Yield what the two sides do not agree on."""
    for name in sorted(truth.keys() | manual.keys()):
        if name not in manual:
            yield f"setting {name} is missing"
        elif name not in truth:
            yield f"setting {name} does not exist"
        else:
            for field in ("kind", "default", "range", "changed_by", "hidden"):
                want, have = getattr(truth[name], field), getattr(manual[name], field)
                if want != have:
                    yield f"setting {name}: {field} is {want!r}, not {have!r}"


def truth_of(folder: Path, headers: Path) -> dict[str, Setting]:
    """Return the settings defined in the C files of *folder*; constants come from *headers*.

    Raises:
        ValueError: the files name a setting of which no definition was understood.
    """
    numbers = {"INT_MAX": str(INT_MAX)}
    for path in sorted(headers.glob("*.h")):
        numbers.update(CONSTANT.findall(path.read_text()))
    found: dict[str, Setting] = {}
    named: set[str] = set()
    for path in sorted(folder.glob("*.c")):
        source = path.read_text()
        found.update(defined(source, numbers))
        named.update(NAMED.findall(source))
    if named - found.keys():
        raise ValueError(
            f"no definition was understood of {', '.join(sorted(named - found.keys()))}"
        )
    return found


def main() -> int:
    """Print the differences; return the exit status."""
    truth = truth_of(ROOT / "extension", ROOT / "pg_hook/pgh")
    found = list(differences(truth, dict(documented(MANUAL.read_text()))))
    sys.stdout.writelines(f"{MANUAL.relative_to(ROOT)}: {line}\n" for line in found)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
