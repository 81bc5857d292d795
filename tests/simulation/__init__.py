"""The daemon's real core against a simulated world: time, disk, network, control plane, Postgres.

One seed is one story, and replays exactly: ``python -m tests.simulation SEED``. `world` puts the
parts together; `moves` says what may happen; `invariants` what must hold after every step.
"""
