"""Check what rots first in the documents: links and commands.

Prints one line for each finding and exits with status 1 if there is any. Run by `make check`.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LINK = re.compile(r"\]\((?!\w+:)([^)#\s]+)")
CODE = re.compile(r"```.*?```|`[^`\n]+`|^ {4}[^\n]*", re.MULTILINE | re.DOTALL)
MAKE = re.compile(r"\bmake((?: [a-z][a-z-]*)+)")
MODULE = re.compile(r"`((?:[a-z0-9_]+/)*[a-z0-9_]+\.py)`")
FOLDERS = ("compute_ctl", "compute_common", "control_plane", "tests", "")
"""A module of the architecture's tables stands in one of them."""
TARGET = re.compile(r"^([a-z][a-z-]*):", re.MULTILINE)


def documents() -> list[Path]:
    """Return the Markdown files of the repository."""
    return sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("*/README.md")])


def dead_links(document: Path, text: str) -> Iterator[str]:
    """Yield relative links that lead nowhere."""
    for target in LINK.findall(text):
        if not (document.parent / target).exists():
            yield f"link to {target} leads nowhere"


def unknown_targets(text: str, known: set[str]) -> Iterator[str]:
    """Yield `make` commands whose target the Makefile does not have."""
    for code in CODE.findall(text):
        for words in MAKE.findall(code):
            for target in set(words.split()) - known:
                yield f"the Makefile has no target {target}"


def missing_modules(document: Path, text: str) -> Iterator[str]:
    """Yield modules named in the architecture's table of promises that are not there."""
    if document.name != "architecture.md":
        return
    for name in set(MODULE.findall(text)):
        if not any((ROOT / folder / name).exists() for folder in FOLDERS):
            yield f"there is no {name}"


def findings() -> Iterator[str]:
    """Yield every finding as `file: what is wrong`."""
    known = set(TARGET.findall((ROOT / "Makefile").read_text()))
    for document in documents():
        text = document.read_text()
        for finding in [
            *dead_links(document, text),
            *unknown_targets(text, known),
            *missing_modules(document, text),
        ]:
            yield f"{document.relative_to(ROOT)}: {finding}"


def main() -> int:
    """Print the findings; return the exit status."""
    found = list(findings())
    sys.stdout.writelines(f"{line}\n" for line in found)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
