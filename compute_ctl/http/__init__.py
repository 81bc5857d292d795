"""The HTTP API, on three listeners that differ in what a caller may do.

The server is that of `compute_common.http`. Here are its routes, the functions that they name, and
who may call them.
"""

from compute_ctl.http.server import HttpServer

__all__ = ["HttpServer"]
