"""The programs beside Postgres that a document configures, too: pgbouncer, local_proxy, TLS files.

Only what the document names, and only where the program is on this machine.
"""

from compute_ctl.sidecars.sidecars import Sidecars

__all__ = ["Sidecars"]
