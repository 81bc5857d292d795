"""Reads the alerts and dashboards that are deployed beside a daemon, for their tests."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
MATCHER = re.compile(r'(\w+)=~?"([^"$]+)"')
NOT_OURS = {"job", "instance"}  # Prometheus adds these

Exposed = dict[str, dict[str, set[str]]]
"""By sample: its labels and their values."""


def samples(text: str) -> Exposed:
    """Every sample of an exposition, and of families without samples as yet the name."""
    found: Exposed = {}
    for family in text_string_to_metric_families(text):
        found.setdefault(family.name, {})
        for sample in family.samples:
            labels = found.setdefault(sample.name, {})
            for label, value in sample.labels.items():
                labels.setdefault(label, set()).add(value)
    return found


def alert_expressions(rules: Path) -> dict[str, str]:
    """The expression of each alert, by its name."""
    found = {}
    for block in rules.read_text().split("- alert: ")[1:]:
        name, _, rest = block.partition("\n")
        body = re.search(r"expr:(.*?)\n +(?:for|labels):", rest, re.DOTALL)
        assert body is not None, name
        found[name] = body[1]
    return found


def panel_expressions(dashboard: Path) -> dict[str, str]:
    """The expressions of each panel, by its title."""
    return {
        panel["title"]: "\n".join(target["expr"] for target in panel["targets"])
        for panel in json.loads(dashboard.read_text())["panels"]
    }


def unknown(
    expression: str, have: Mapping[str, Mapping[str, set[str]]], names: re.Pattern[str]
) -> Iterator[str]:
    """Yield what *expression* asks for and is not there; *names* matches the metrics in it."""
    asked = set(names.findall(re.sub(r'"[^"]*"', '""', expression)))
    yield from (f"metric {name}" for name in sorted(asked - have.keys()))
    known = [have[name] for name in asked & have.keys()]
    for label, values in MATCHER.findall(expression):
        for value in values.split("|") if label not in NOT_OURS else ():
            if not any(value in labels.get(label, ()) for labels in known):
                yield f'label {label}="{value}"'
