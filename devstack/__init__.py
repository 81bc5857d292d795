"""Stand-ins that speak the real protocols: a pageserver and a control plane.

For tests, benches and the demo. Nothing here imports `compute_ctl` or `pg_hook`: a stand-in that
shares code with what it tests proves nothing.
"""
