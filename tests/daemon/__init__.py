"""Tests of the daemon's parts on real sockets and files, without Postgres."""
