"""The server class lives in devstack, where the demo can use it too."""

from devstack.postgres import (
    INITDB_OPTIONS,
    Postgres,
    Setting,
    Template,
    binary,
    free_port,
    give_away,
    major,
    make_folder,
    os_user,
    pg_config,
    quote,
    run_as,
)

__all__ = [
    "INITDB_OPTIONS",
    "Postgres",
    "Setting",
    "Template",
    "binary",
    "free_port",
    "give_away",
    "major",
    "make_folder",
    "os_user",
    "pg_config",
    "quote",
    "run_as",
]
