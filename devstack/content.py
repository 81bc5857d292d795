"""A data directory with a table, to be served by pageservers and copied for every Postgres."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from devstack.postgres import Postgres, Template


@contextmanager
def filled(template: Template, rows: int) -> Iterator[Path]:
    """Make one with a table `story` of *rows* rows that is all on disk."""
    with Postgres(template, name="content") as postgres:
        postgres.configure({"shared_preload_libraries": "neon_refresh"})
        postgres.start()
        with postgres.connect() as session:
            session.execute("create extension neon_refresh")
            session.execute(
                "create table story as select n, md5(n::text) as filler "
                f"from generate_series(1, {rows}) as n"
            )
            session.execute("vacuum (freeze) story")
            session.execute("checkpoint")
        postgres.stop()
        yield postgres.data
