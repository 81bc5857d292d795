"""The Postgres server as a process: found, watched, started, stopped. No SQL here.

`Attached` watches a server that somebody else runs, `Supervised` one that the daemon runs.
"""

from compute_ctl.postgres.identity import data_dir_inode, system_identifier
from compute_ctl.postgres.process import Supervised
from compute_ctl.postgres.server import Attached, Events

__all__ = ["Attached", "Events", "Supervised", "data_dir_inode", "system_identifier"]
