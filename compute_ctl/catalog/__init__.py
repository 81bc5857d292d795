"""Roles, databases and extensions of the running server, made as a document wants them.

It comes after the heal, never before it, and cannot undo one. Everything blocking runs in threads
of its own with a deadline; `Keeper` decides when, `Executor` works, `Desk` answers the routes.
"""

from compute_ctl.catalog.desk import Desk
from compute_ctl.catalog.keeper import Keeper

__all__ = ["Desk", "Keeper"]
