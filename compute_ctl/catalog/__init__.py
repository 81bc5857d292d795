"""Creates the roles, databases and extensions that a document lists in the running server.

This happens after the configuration is proven and can never undo it. Blocking work runs in threads
with a deadline. `CatalogReconciler` decides when to work, `PlanExecutor` does the work, and
`CatalogQueries` answers the HTTP routes that need SQL.
"""

from compute_ctl.catalog.queries import CatalogQueries
from compute_ctl.catalog.reconciler import CatalogReconciler

__all__ = ["CatalogQueries", "CatalogReconciler"]
