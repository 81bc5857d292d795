"""Tests that need no Postgres server."""
