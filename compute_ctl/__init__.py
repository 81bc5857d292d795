"""The daemon of compute-refresh: keeps a Postgres on the configuration it should run with."""

__version__ = "1.2"
"""Of the daemon, and of the extension that belongs to it."""
