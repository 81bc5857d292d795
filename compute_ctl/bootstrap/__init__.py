"""Makes the cluster in an empty data directory: by initdb, or from a base backup of a pageserver.

Everything is made in a staging folder and moved into place when it is complete and on disk, the
file `PG_VERSION` last: what a kill leaves never looks like a cluster.
"""
