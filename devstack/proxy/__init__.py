"""A TCP proxy whose network can be broken on demand: cut, silent, half open, slow, torn.

`faults` (pure: what is ordered) ▸ `route` (one listener and what flows through it) ▸ `__main__`
(orders over HTTP); `client` starts one and gives it orders.
"""
