"""The composition root: the only place that builds objects and starts tasks.

`assembly` makes the objects, `main` starts and ends them; `supervisor` runs Postgres where that is
the daemon's business.
"""

from compute_common.system.authorities import without_authorities

with without_authorities():
    from compute_ctl.app.main import run

__all__ = ["run"]
