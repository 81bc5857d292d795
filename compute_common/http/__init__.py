"""Requests over HTTP, as both daemons make them."""
