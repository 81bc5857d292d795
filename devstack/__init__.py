"""Stand-ins that speak the real protocols, a pageserver and a storage controller, and proxies.

For tests, benches and the demo. Nothing here imports `compute_ctl`, `control_plane` or `pg_hook`:
a stand-in that shares code with what it tests proves nothing.
"""
