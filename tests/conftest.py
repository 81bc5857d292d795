"""Plugins of the test suite and the versions it ran with."""

import aiohttp
import psycopg

from tests.support.postgres import pg_config

pytest_plugins = ["tests.support.fixtures"]


def pytest_report_header() -> str:
    """Name the server and the libraries under test."""
    libpq = psycopg.pq.version()
    server = pg_config("version")
    return f"{server}, psycopg {psycopg.__version__} (libpq {libpq}), aiohttp {aiohttp.__version__}"
