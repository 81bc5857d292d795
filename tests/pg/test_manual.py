"""docs/extension.md names what the extension makes."""

import re
from pathlib import Path

from devstack.postgres import Postgres

MANUAL = (Path(__file__).parents[2] / "docs" / "extension.md").read_text()
VIEWS = ("stat", "shards", "events")
FUNCTIONS = """
SELECT proname FROM pg_proc WHERE pronamespace = 'neon_refresh'::regnamespace
AND proname NOT IN ('stat_row', 'shard_rows', 'event_rows')"""


def test_views_and_functions_are_described(shared_postgres: Postgres) -> None:
    """Each view is followed by a table of its columns, and each function stands in one."""
    shared_postgres.query("CREATE EXTENSION IF NOT EXISTS neon_refresh")
    for view in VIEWS:
        text = MANUAL.partition(f"\n`neon_refresh.{view}`")[2].partition("\n`neon_refresh.")[0]
        cells = re.findall(r"(?m)^\| (`[^|]*`) \|", text.partition("\n## ")[0])
        described = sorted(name for cell in cells for name in re.findall(r"`(\w+)`", cell))
        columns = shared_postgres.query(
            "SELECT attname FROM pg_attribute WHERE attnum > 0 "
            f"AND attrelid = 'neon_refresh.{view}'::regclass"
        )
        assert sorted(name for (name,) in columns) == described
    functions = {name for (name,) in shared_postgres.query(FUNCTIONS)}
    assert functions == set(re.findall(r"(?m)^\| `neon_refresh\.(\w+)\(", MANUAL))
