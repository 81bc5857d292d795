"""The daemon of compute-refresh: keeps a Postgres on the configuration it should run with."""
