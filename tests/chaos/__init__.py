"""Chaos on real processes: everything is killed, stopped, cut off and moved, by a seeded schedule.

`python -m tests.chaos --seed N --seconds S`. `schedule` and `verdict` (pure) ▸ `load`, `cluster`
(the processes) ▸ `actions` (what each fault does), `watch` (what must always hold), `figures` ▸
`play` (a round) ▸ `run` ▸ `__main__`.
"""
