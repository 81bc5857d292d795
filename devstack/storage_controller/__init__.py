"""A storage controller in small: watches pageservers, moves shards, tells the control plane.

Pure: `model` ▸ `schedule`, `heartbeats`, `plan`, `hook_rules`. Edges: `state_file`, `faults`,
`events` ▸ `pageservers`, `hook_sender` ▸ `compute_hook` ▸ `reconciler`, `safekeepers` ▸
`controller` ▸ `operations` ▸ `public_api` (the reference's API), `admin` (the door of tests) ▸
`__main__`. `client` starts one and gives it orders.
"""
