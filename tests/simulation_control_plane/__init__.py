"""The distributed whole on the virtual clock: controllers, control plane, store, nodes, computes.

Real are the control plane's registry, reconciler, judge and handlers, the storage controller's
stand-in, and the daemon's documents, versions and reporter; simulated are time, network, store,
pageservers and how long a daemon takes. One seed is one story, and replays exactly:
``python -m tests.simulation_control_plane SEED``. `world` puts the parts together; `moves` says
what may happen; `history` what must hold.
"""
